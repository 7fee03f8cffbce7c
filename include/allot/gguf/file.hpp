// SPDX-License-Identifier: MIT
/// \file
/// `gguf::File`: a GGUF model, one file or all shards of a split one.
///
///     gguf::File file{"model.gguf"};
///     file.metadata()["llama.block_count"].as<std::uint32_t>();
///     for (const gguf::TensorInfo& tensor : file.tensors()) ...
#pragma once

#include <allot/gguf/error.hpp>
#include <allot/gguf/metadata.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/gguf/parser.hpp>
#include <allot/gguf/shard.hpp>
#include <allot/gguf/split_names.hpp>
#include <allot/gguf/tensor.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::gguf {

/// A model open for reading. Opening it reads and checks the metadata of every shard, and no tensor
/// data. Movable; views stay valid through moves, as long as the file lives.
class File {
  /// The name at a place, for the index.
  struct NameAt {
    const File* self;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      return self->tensors_[place].name;
    }
  };

 public:
  /// \param path  the file, or any shard of a split one (`NAME-00001-of-00009.gguf`)
  /// Throws: `ParseError`. Complexity: linear in the metadata.
  explicit File(const std::filesystem::path& path) {
    open(path);
    if (const auto count = split_count(); count && *count > 1) open_split(path, *count);
    index_tensors();
  }

  [[nodiscard]] std::uint32_t version() const noexcept { return containers_.front().version; }
  /// Bytes: what tensor offsets in the file are multiples of.
  [[nodiscard]] std::uint64_t alignment() const noexcept { return containers_.front().alignment; }
  /// The order of the bytes in the numbers of the tensor data, of all shards alike. Metadata are in
  /// the host's order whatever it is. `swap_byte_order` turns tensor data around.
  [[nodiscard]] std::endian byte_order() const noexcept { return containers_.front().byte_order; }

  /// One for each file of the model, in order.
  [[nodiscard]] std::span<const Shard> shards() const noexcept { return shards_; }

  /// The first shard's, which has the model's keys.
  [[nodiscard]] const Metadata& metadata() const noexcept { return containers_.front().metadata; }

  /// All tensors, shard by shard, in file order.
  [[nodiscard]] std::span<const TensorInfo> tensors() const noexcept { return tensors_; }

  /// Complexity: constant. `nullptr` where there is none of that name.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const noexcept {
    const auto found = places_.find(name, NameAt{this});
    return found ? &tensors_[*found] : nullptr;
  }

  /// A view of the tensor's bytes in the mapped file, as they are there: in the file's byte order
  /// (`byte_order`). Touching it faults if the file was truncated meanwhile; `Shard::read` reports
  /// that as an error instead.
  /// Throws: `ParseError` where the file cannot be mapped.
  [[nodiscard]] std::span<const std::byte> data(const TensorInfo& tensor) const {
    if (tensor.bytes == 0) return {};
    const Shard& shard = shards_[tensor.shard];
    return shard.map().subspan(static_cast<std::size_t>(shard.data_offset() + tensor.offset),
                               static_cast<std::size_t>(tensor.bytes));
  }

 private:
  void open(const std::filesystem::path& path) {
    Shard& shard = shards_.emplace_back(path);
    Container& container = containers_.emplace_back(shard);
    MetadataParser{shard, container};
    shard.data_offset_ = container.data_offset;
    shard.byte_order_ = container.byte_order;
    const auto index = static_cast<std::uint32_t>(shards_.size() - 1);
    for (TensorInfo& tensor : container.tensors) tensor.shard = index;
  }

  void index_tensors() {
    if (containers_.size() == 1) {
      tensors_ = std::move(containers_.front().tensors);
    } else {
      for (const Container& container : containers_) {
        tensors_.insert(tensors_.end(), container.tensors.begin(), container.tensors.end());
      }
    }
    places_.reserve(tensors_.size());
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (!places_.add(tensors_[i].name, i, NameAt{this})) fail_twice(tensors_[i]);
    }
  }

  [[noreturn]] void fail_twice(const TensorInfo& tensor) const {
    const TensorInfo& first = *find(tensor.name);
    throw ParseError{shards_[tensor.shard].path(),
                     containers_[tensor.shard].section.position_of(tensor.name),
                     "tensor " + std::string{tensor.name} + " is in " +
                         shards_[first.shard].path().filename().string() + " already"};
  }

  [[nodiscard]] static std::string to_text(std::uint64_t number) { return std::to_string(number); }

  /// A split key of the container opened last; nothing where it is missing.
  template <class T>
  [[nodiscard]] std::optional<T> split_key(const char* key) const {
    const Value* value = containers_.back().metadata.find(key);
    if (value == nullptr) return std::nullopt;
    if (value->type() != *detail::type_of<T>) {
      fail_last(key, std::string{key} + " is " + std::string{gguf::to_text(value->type())} +
                         ", not " + std::string{gguf::to_text(*detail::type_of<T>)});
    }
    return value->as<T>();
  }

  [[nodiscard]] std::optional<std::uint16_t> split_count() const {
    return split_key<std::uint16_t>("split.count");
  }

  /// The container opened last breaks a rule, at one of its keys; at the start where it lacks it.
  [[noreturn]] void fail_last(const char* key, const std::string& rule) const {
    fail(shards_.size() - 1, key, rule);
  }
  [[noreturn]] void fail(std::size_t shard, const char* key, const std::string& rule) const {
    const Value* value = containers_[shard].metadata.find(key);
    throw ParseError{shards_[shard].path(),
                     value == nullptr ? 0 : containers_[shard].section.position_of(value->key()),
                     rule};
  }

  /// Opens every shard of the model that `path` is a part of, in order.
  void open_split(const std::filesystem::path& path, std::uint16_t count) {
    const std::vector<std::filesystem::path> paths = shard_paths(path, count);
    shards_.clear();
    containers_.clear();
    shards_.reserve(paths.size());
    for (const std::filesystem::path& part : paths) {
      open(part);
      check_split_keys(count);
      check_byte_order();
    }
    check_tensor_count();
  }

  [[nodiscard]] std::vector<std::filesystem::path> shard_paths(const std::filesystem::path& path,
                                                               std::uint16_t count) const {
    char ending[32];
    std::snprintf(ending, sizeof ending, "-of-%05u.gguf", static_cast<unsigned>(count));
    const std::string name = path.filename().string();
    const std::size_t tail = std::string_view{ending}.size() + 6;  // "-00001" in front of it
    if (name.size() < tail || !name.ends_with(ending)) {
      fail_last("split.count", "split.count is " + to_text(count) +
                                   ", but the file is not named PREFIX-00001" + ending +
                                   "; restore the names of the shards");
    }
    const std::string prefix = name.substr(0, name.size() - tail);
    std::vector<std::filesystem::path> paths;
    constexpr int most_named = 16;
    int missing_count = 0;
    std::string missing;
    for (unsigned i = 1; i <= count; ++i) {
      char number[16];
      std::snprintf(number, sizeof number, "-%05u", i);
      paths.push_back(path.parent_path() / (prefix + number + ending));
      std::error_code ignored;
      if (!std::filesystem::exists(paths.back(), ignored)) {
        if (++missing_count > most_named) {
          missing += ", and maybe more";  // a few bytes may claim 65,535
          break;
        }
        missing += (missing.empty() ? "" : ", ") + paths.back().filename().string();
      }
    }
    if (!missing.empty()) {
      fail_last("split.count", "the model has " + to_text(count) +
                                   " shards, and these are missing beside it: " + missing);
    }
    return paths;
  }

  void check_split_keys(std::uint16_t count) const {
    const std::size_t place = shards_.size() - 1;
    const auto number = split_key<std::uint16_t>("split.no");
    if (!number) fail_last("split.no", "split.no is missing");
    if (*number != place) {
      fail_last("split.no", "split.no is " + to_text(*number) +
                                ", but by its name the file is number " + to_text(place) +
                                " (from 0)");
    }
    const auto total = split_count();
    if (!total || *total != count) {
      fail_last("split.count", "split.count is " +
                                   (total ? to_text(*total) : std::string{"missing"}) +
                                   ", but another shard says " + to_text(count));
    }
  }

  void check_byte_order() const {
    if (shards_.back().byte_order() == shards_.front().byte_order()) return;
    const bool is_big = shards_.back().byte_order() == std::endian::big;
    throw ParseError{shards_.back().path(), 4,
                     std::string{"the shard is "} + (is_big ? "big" : "little") + "-endian, but " +
                         shards_.front().path().filename().string() +
                         " is not; convert one of them"};
  }

  void check_tensor_count() const {
    std::uint64_t tensors = 0;
    for (const Container& container : containers_) tensors += container.tensors.size();
    for (std::size_t i = 0; i < containers_.size(); ++i) {
      const Value* total = containers_[i].metadata.find("split.tensors.count");
      if (total == nullptr || total->type() != ValueType::int32) {
        fail(i, "split.tensors.count", "split.tensors.count is missing or not int32");
      }
      if (total->as_count() != tensors) {
        fail(i, "split.tensors.count",
             "split.tensors.count is " + std::to_string(total->as<std::int32_t>()) +
                 ", but the shards hold " + to_text(tensors) + " tensors");
      }
    }
  }

  std::vector<Shard> shards_;
  std::vector<Container> containers_;
  std::vector<TensorInfo> tensors_;
  NameIndex places_;
};

}  // namespace allot::gguf
