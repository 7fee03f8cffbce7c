// SPDX-License-Identifier: MIT
/// \file
/// A reference for `examples/llama`, written apart from it: a model in double precision, one token at a
/// time, all of it in `std::vector`s. Of allot it uses only the reader of files and `dequantize`.
#pragma once

#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace allot::test {

class PlainModel {
  using Numbers = std::vector<double>;

 public:
  explicit PlainModel(const gguf::File& file)
      : architecture_{file.metadata()["general.architecture"].as<std::string_view>()} {
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      std::vector<float> values(tensor.shape.elements());
      gguf::dequantize(tensor.type, file.data(tensor), std::span{values});
      tensors_[std::string{tensor.name}] = Numbers(values.begin(), values.end());
    }
    const auto count = [&](const char* key) {
      return static_cast<std::size_t>(*file.metadata()[architecture_ + key].as_count());
    };
    layers_ = count(".block_count");
    heads_ = count(".attention.head_count");
    kv_heads_ = count(".attention.head_count_kv");
    head_ = tensors_.at("blk.0.attn_q.weight").size() / count(".embedding_length") / heads_;
    keys_.resize(layers_);
    values_.resize(layers_);
  }

  /// Returns the logits after one more token.
  Numbers add(std::uint32_t token) {
    const Numbers& embedding = tensors_.at("token_embd.weight");
    const std::size_t width = tensors_.at("output_norm.weight").size();
    Numbers x(embedding.begin() + static_cast<std::ptrdiff_t>(token * width),
              embedding.begin() + static_cast<std::ptrdiff_t>((token + 1) * width));
    for (std::size_t i = 0; i < layers_; ++i) {
      const std::string layer = "blk." + std::to_string(i) + ".";
      const Numbers a = attention(i, layer, norm(x, tensors_.at(layer + "attn_norm.weight")));
      for (std::size_t k = 0; k < width; ++k) x[k] += a[k];
      const Numbers normed = norm(x, tensors_.at(layer + "ffn_norm.weight"));
      Numbers gate = times(layer + "ffn_gate", normed);
      const Numbers up = times(layer + "ffn_up", normed);
      for (std::size_t k = 0; k < gate.size(); ++k) gate[k] *= up[k] / (1 + std::exp(-gate[k]));
      const Numbers down = times(layer + "ffn_down", gate);
      for (std::size_t k = 0; k < width; ++k) x[k] += down[k];
    }
    ++tokens_;
    return times(tensors_.contains("output.weight") ? "output" : "token_embd",
                 norm(x, tensors_.at("output_norm.weight")));
  }

 private:
  static Numbers norm(Numbers x, const Numbers& weight) {
    double squares = 0;
    for (const double one : x) squares += one * one;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + 1e-5);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= scale * weight[i];
    return x;
  }

  Numbers times(const std::string& name, const Numbers& x) const {
    const Numbers& matrix = tensors_.at(name + ".weight");
    Numbers y(matrix.size() / x.size());
    for (std::size_t row = 0; row < y.size(); ++row) {
      for (std::size_t i = 0; i < x.size(); ++i) y[row] += matrix[row * x.size() + i] * x[i];
    }
    if (const auto bias = tensors_.find(name + ".bias"); bias != tensors_.end())
      for (std::size_t row = 0; row < y.size(); ++row) y[row] += bias->second[row];
    return y;
  }

  /// Each head's norm, where the model has one, and its turn.
  void prepare(Numbers& heads, const std::string& norm_name) const {
    for (std::size_t at = 0; at < heads.size(); at += head_) {
      const auto begin = heads.begin() + static_cast<std::ptrdiff_t>(at);
      Numbers one(begin, begin + static_cast<std::ptrdiff_t>(head_));
      if (const auto weight = tensors_.find(norm_name); weight != tensors_.end())
        one = norm(one, weight->second);
      for (std::size_t i = 0; i < head_ / 2; ++i) {
        const bool pairs = architecture_ == "llama";
        double& a = one[pairs ? 2 * i : i];
        double& b = one[pairs ? 2 * i + 1 : i + head_ / 2];
        const double angle =
            static_cast<double>(tokens_) *
            std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(head_));
        const double turned = a * std::cos(angle) - b * std::sin(angle);
        b = a * std::sin(angle) + b * std::cos(angle);
        a = turned;
      }
      std::copy(one.begin(), one.end(), begin);
    }
  }

  Numbers attention(std::size_t number, const std::string& layer, const Numbers& x) {
    Numbers queries = times(layer + "attn_q", x);
    Numbers keys = times(layer + "attn_k", x);
    prepare(queries, layer + "attn_q_norm.weight");
    prepare(keys, layer + "attn_k_norm.weight");
    keys_[number].push_back(keys);
    values_[number].push_back(times(layer + "attn_v", x));
    Numbers out(heads_ * head_);
    for (std::size_t head = 0; head < heads_; ++head) {
      const std::size_t kv = head / (heads_ / kv_heads_) * head_;
      Numbers weights;
      double sum = 0;
      for (const Numbers& key : keys_[number]) {
        double score = 0;
        for (std::size_t i = 0; i < head_; ++i) score += queries[head * head_ + i] * key[kv + i];
        weights.push_back(std::exp(score / std::sqrt(static_cast<double>(head_))));
        sum += weights.back();
      }
      for (std::size_t t = 0; t < weights.size(); ++t) {
        for (std::size_t i = 0; i < head_; ++i)
          out[head * head_ + i] += weights[t] / sum * values_[number][t][kv + i];
      }
    }
    return times(layer + "attn_output", out);
  }

  std::string architecture_;
  std::size_t layers_, heads_, kv_heads_, head_, tokens_ = 0;
  std::map<std::string, Numbers> tensors_;
  std::vector<std::vector<Numbers>> keys_, values_;  // by layer and position
};

}  // namespace allot::test
