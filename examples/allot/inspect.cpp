// SPDX-License-Identifier: MIT
#include <allot/gguf/file.hpp>

#include <fmt/format.h>

#include <allot/gguf/format.hpp>  // after {fmt}: tensor types are formatted by their names

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "commands.hpp"
#include "output.hpp"

namespace {

namespace gguf = allot::gguf;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t shown_elements = 8;

/// An array's type, length and first elements.
Json array_json(const gguf::Array& array) {
  Json first = Json::array();
  const std::uint64_t shown = std::min(array.size(), shown_elements);
  if (array.element_type() == gguf::ValueType::string) {
    for (const std::string_view text : array.strings()) {
      if (first.size() == shown) break;
      first.push_back(printable(text));
    }
  } else if (array.element_type() == gguf::ValueType::array) {
    for (const gguf::Array inner : array.arrays()) {
      if (first.size() == shown) break;
      first.push_back(array_json(inner));
    }
  } else {
    gguf::with_number_type(array.element_type(), [&]<class T>(T) {
      for (std::uint64_t i = 0; i < shown; ++i) first.push_back(array.values<T>()[i]);
    });
  }
  return {{"array_of", gguf::to_text(array.element_type())},
          {"length", array.size()},
          {"first", std::move(first)}};
}

Json value_json(const gguf::Value& value) {
  if (value.type() == gguf::ValueType::string) return printable(value.as<std::string_view>());
  if (value.type() == gguf::ValueType::array) return array_json(value.array());
  Json json;
  gguf::with_number_type(value.type(), [&]<class T>(T) { json = value.as<T>(); });
  return json;
}

/// A value as text: as JSON, which has no word for nan, inf and -inf.
std::string value_text(const Json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const double number = value.get<double>();
    return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
  }
  if (!value.is_structured()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string text;
  for (const auto& [key, element] : value.items()) {
    if (!text.empty()) text += ",";
    if (value.is_object()) text += Json(key).dump() + ":";
    text += value_text(element);
  }
  return value.is_object() ? "{" + text + "}" : "[" + text + "]";
}

struct Total {
  std::uint64_t tensors = 0;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
};

std::map<std::string_view, Total> totals_by_type(const gguf::File& file) {
  std::map<std::string_view, Total> totals;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    Total& total = totals[gguf::type_name(tensor.type)];
    ++total.tensors;
    total.elements += tensor.shape.elements();
    total.bytes += tensor.bytes;
  }
  return totals;
}

/// Wraps at 2^64, which no file with data reaches.
std::uint64_t total_elements(const gguf::File& file) {
  std::uint64_t elements = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) elements += tensor.shape.elements();
  return elements;
}

const char* byte_order_text(const gguf::File& file) {
  return file.byte_order() == std::endian::little ? "little" : "big";
}

std::string shape_text(const gguf::Shape& shape) {
  std::string text = "[";
  for (std::uint32_t i = 0; i < shape.rank; ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape.extent[i]);
  }
  return text + "]";
}

std::string architecture(const gguf::File& file) {
  const gguf::Value* value = file.metadata().find("general.architecture");
  if (value == nullptr || value->type() != gguf::ValueType::string) return "";
  return std::string{value->as<std::string_view>()};
}

/// The facts that identify a model, if the file has them.
std::vector<std::pair<std::string, Json>> facts(const gguf::File& file) {
  std::vector<std::pair<std::string, Json>> found;
  const std::string prefix = architecture(file) + ".";
  for (const char* key : {"general.name", "general.architecture", "general.file_type"}) {
    if (const gguf::Value* value = file.metadata().find(key))
      found.emplace_back(key, value_json(*value));
  }
  for (const char* key : {"block_count", "context_length", "embedding_length",
                          "feed_forward_length", "attention.head_count", "attention.head_count_kv",
                          "attention.key_length", "attention.value_length", "expert_count",
                          "expert_used_count", "rope.freq_base", "vocab_size"}) {
    if (const gguf::Value* value = file.metadata().find(prefix + key)) {
      found.emplace_back(prefix + key, value_json(*value));
    }
  }
  if (const gguf::Value* tokens = file.metadata().find("tokenizer.ggml.tokens");
      tokens != nullptr && tokens->type() == gguf::ValueType::array) {
    found.emplace_back("tokens", tokens->array().size());
  }
  return found;
}

void print_json(const InspectOptions& options, const gguf::File& file, std::uint64_t bytes) {
  Json types = Json::object();
  for (const auto& [name, total] : totals_by_type(file)) {
    types[std::string{name}] = {
        {"tensors", total.tensors}, {"elements", total.elements}, {"bytes", total.bytes}};
  }
  Json shards = Json::array();
  for (const gguf::Shard& shard : file.shards()) shards.push_back(printable(shard.path()));
  Json known = Json::object();
  for (const auto& [key, value] : facts(file)) known[printable(key)] = value;
  Json out = {{"file", printable(options.file)},
              {"version", file.version()},
              {"byte_order", byte_order_text(file)},
              {"alignment", file.alignment()},
              {"shards", std::move(shards)},
              {"metadata_pairs", file.metadata().size()},
              {"tensors", file.tensors().size()},
              {"elements", total_elements(file)},
              {"tensor_bytes", bytes},
              {"types", std::move(types)},
              {"facts", std::move(known)}};
  if (options.metadata) {
    Json pairs = Json::object();
    for (const gguf::Value& value : file.metadata())
      pairs[printable(value.key())] = value_json(value);
    out["metadata"] = std::move(pairs);
  }
  if (options.tensors) {
    Json list = Json::array();
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      list.push_back(
          {{"name", printable(tensor.name)},
           {"type", gguf::type_name(tensor.type)},
           {"shape", std::vector<std::uint64_t>(tensor.shape.extent.begin(),
                                                tensor.shape.extent.begin() + tensor.shape.rank)},
           {"shard", tensor.shard},
           {"offset", tensor.offset},
           {"bytes", tensor.bytes}});
    }
    out["tensor_list"] = std::move(list);
  }
  print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(const InspectOptions& options, const gguf::File& file, std::uint64_t bytes) {
  print("{}\n", printable(options.file));
  print("  GGUF version {}, {}-endian, alignment {}, {} file{}\n", file.version(),
        byte_order_text(file), file.alignment(), file.shards().size(),
        file.shards().size() == 1 ? "" : "s");
  print("  {} metadata pairs, {} tensors, {} elements, {}\n\n", file.metadata().size(),
        file.tensors().size(), count_text(total_elements(file)), size_text(bytes));
  for (const auto& [key, value] : facts(file)) {
    print("  {:<36} {}\n", printable(key),
          value.is_string() ? value.get<std::string>() : value_text(value));
  }
  if (!file.tensors().empty()) {
    print("\n  {:<10} {:>8} {:>18} {:>18}\n", "type", "tensors", "elements", "bytes");
    for (const auto& [name, total] : totals_by_type(file)) {
      print("  {:<10} {:>8} {:>18} {:>18}\n", name, total.tensors, count_text(total.elements),
            count_text(total.bytes));
    }
  }
  if (options.metadata) {
    print("\nMetadata\n");
    for (const gguf::Value& value : file.metadata()) {
      print("  {:<44} {:<8} {}\n", printable(value.key()), gguf::to_text(value.type()),
            value_text(value_json(value)));
    }
  }
  if (options.tensors) {
    print("\n{:<44} {:<8} {:<26} {:>14} {:>14}\n", "Tensor", "type", "shape", "offset", "bytes");
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      print("{:<44} {:<8} {:<26} {:>14} {:>14}\n", printable(tensor.name), tensor.type,
            shape_text(tensor.shape), tensor.offset, tensor.bytes);
    }
  }
}

}  // namespace

void inspect(const InspectOptions& options) {
  const gguf::File file{options.file};
  std::uint64_t bytes = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) bytes += tensor.bytes;
  options.json ? print_json(options, file, bytes) : print_text(options, file, bytes);
}
