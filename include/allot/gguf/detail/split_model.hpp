// SPDX-License-Identifier: MIT
/// \file
/// Opens the files of a model: the named one and, if the model is split, all others.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/detail/cut_parts.hpp>
#include <allot/gguf/error.hpp>
#include <allot/gguf/input.hpp>
#include <allot/gguf/parser.hpp>
#include <allot/gguf/partial_tensor.hpp>
#include <allot/gguf/shard.hpp>
#include <allot/gguf/split_names.hpp>
#include <allot/os/folder.hpp>
#include <allot/os/path.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::gguf::detail {

/// The open files of a model, in order, and the contents of each.
struct Parts {
  std::vector<Shard> shards;
  std::vector<Container> containers;
};

/// Opens the files of a model one by one and checks them against each other.
/// \tparam InputType  what is opened, `os::InputFile`. A template, so that only programs that open
/// a file pay for its instantiation
template <class InputType>
class ModelOpener {
 public:
  explicit ModelOpener(Reading reading) noexcept : reading_{reading} {}

  /// Throws: `ParseError`.
  [[nodiscard]] static Parts open(os::Path path, Reading reading) {
    ModelOpener named{reading};
    named.open_next(std::move(path));
    const auto count = named.last_split_key(split_count_key);
    if (count && *count > 1) return open_all(std::move(named), *count);
    return std::move(named.parts_);
  }

 private:
  /// Opens all shards of the model that the shard `named` belongs to. That one is not read again.
  [[nodiscard]] static Parts open_all(ModelOpener named, std::uint16_t count) {
    const DeferredVector<std::string, InputType> paths = named.shard_paths(count);
    const std::string own_name{os::file_name_of(named.parts_.shards.front().path())};
    ModelOpener all{named.reading_};
    all.parts_.shards.reserve(paths.size());
    all.parts_.containers.reserve(paths.size());
    for (const std::string& path : paths) {
      if (os::file_name_of(path) == own_name) {
        all.add(std::move(named.parts_.shards.front()), std::move(named.parts_.containers.front()));
      } else {
        all.open_next(path);
      }
      all.check_split_keys(count);
      all.check_byte_order();
    }
    all.check_tensor_count();
    return std::move(all.parts_);
  }

  void open_next(os::Path path) {
    InputType file = open_input(std::move(path));
    Container container = parse_part(file);
    Shard shard{std::move(file), container.data_offset, container.byte_order};
    add(std::move(shard), std::move(container));
  }

  /// Adds to an error that the file is a part of one that was cut by size, if it is.
  [[nodiscard]] Container parse_part(const InputType& file) const {
    try {
      return parse(file, reading_);
    } catch (const ParseError& error) {
      const std::string advice = CutParts<InputType>{file.path()}.advice();
      if (advice.empty()) throw;
      throw ParseError{error.path(), error.offset(), error.rule() + "; " + advice};
    }
  }

  void add(Shard shard, Container container) {
    const auto index = static_cast<std::uint32_t>(parts_.shards.size());
    for (TensorInfo& tensor : container.tensors) tensor.shard = index;
    for (PartialTensor& tensor : container.partial_tensors) tensor.shard = index;
    parts_.shards.push_back(std::move(shard));
    parts_.containers.push_back(std::move(container));
  }

  /// Throws that a shard breaks a rule: at one of its keys, or at its start if it lacks the key.
  [[noreturn]] void fail(std::size_t shard, const char* key, const std::string& rule) const {
    const Container& container = parts_.containers[shard];
    const Value* value = container.metadata.find(key);
    throw ParseError{parts_.shards[shard].path(),
                     value == nullptr ? 0 : container.bytes.position_of(value->key()), rule};
  }
  /// The same for the shard that was opened last.
  [[noreturn]] void fail_last(const char* key, const std::string& rule) const {
    fail(parts_.shards.size() - 1, key, rule);
  }

  /// Returns a split key of the shard opened last; nothing if it is missing.
  [[nodiscard]] DeferredOptional<std::uint16_t, InputType> last_split_key(const char* key) const {
    const Value* value = parts_.containers.back().metadata.find(key);
    if (value == nullptr) return std::nullopt;
    if (value->type() != ValueType::uint16) {
      fail_last(key, std::string{key} + " is " + std::string{to_text(value->type())} + ", not " +
                         std::string{to_text(ValueType::uint16)});
    }
    return value->as<std::uint16_t>();
  }

  /// Returns the names of all shards, in order. Throws: `ParseError` for the named file, if its own
  /// name does not fit or other shards are missing.
  [[nodiscard]] DeferredVector<std::string, InputType> shard_paths(std::uint16_t count) const {
    const std::string& path = parts_.shards.front().path();
    const auto prefix = split_prefix<InputType>(path, count);
    if (!prefix) {
      fail_last(split_count_key, "split.count is " + std::to_string(count) +
                                     ", but the file is not named PREFIX-00001" +
                                     split_ending(count) + "; restore the names of the shards");
    }
    DeferredVector<std::string, InputType> paths;
    constexpr int most_named = 16;
    int missing_count = 0;
    std::string missing;
    for (std::uint16_t i = 0; i < count; ++i) {
      paths.push_back(spelled_as(path, split_path(*prefix, i, count), prefix->size()));
      if (os::exists(paths.back())) continue;
      if (auto other = other_spelling(paths.back(), prefix->size()); !other.empty()) {
        paths.back() = std::move(other);
        continue;
      }
      if (++missing_count > most_named) {
        missing += ", and maybe more";  // a few bytes may claim 65,535
        break;
      }
      missing += (missing.empty() ? "" : ", ") + std::string{os::file_name_of(paths.back())};
    }
    if (!missing.empty()) {
      fail_last(split_count_key, "the model has " + std::to_string(count) +
                                     " shards, and these are missing beside it: " + missing);
    }
    return paths;
  }

  /// Returns `path` with the letters behind its prefix as in `model`: `-of-`, `.GGUF`.
  [[nodiscard]] static std::string spelled_as(std::string_view model, std::string path,
                                              std::size_t prefix) {
    for (std::size_t i = prefix; i < path.size(); ++i) {
      if (is_letter(path[i])) path[i] = model[i];
    }
    return path;
  }

  /// Returns a file that is named like `path` but for the case of letters behind the prefix; empty if
  /// there is none.
  [[nodiscard]] static std::string other_spelling(const std::string& path, std::size_t prefix) {
    const std::string_view folder = os::folder_of(path);
    const std::string_view own = std::string_view{path}.substr(folder.size());
    std::string found;
    os::for_each_name(folder, [&](std::string_view name) {
      const std::size_t same = prefix - folder.size();
      if (name.size() != own.size() || name.substr(0, same) != own.substr(0, same)) return;
      for (std::size_t i = same; i < own.size(); ++i) {
        if (lower(name[i]) != lower(own[i])) return;
      }
      found = std::string{folder} + std::string{name};
    });
    return found;
  }

  /// Checks the shard opened last against its position.
  void check_split_keys(std::uint16_t count) const {
    const std::size_t place = parts_.shards.size() - 1;
    const auto number = last_split_key(split_no_key);
    if (!number) fail_last(split_no_key, "split.no is missing");
    if (*number != place) {
      fail_last(split_no_key, "split.no is " + std::to_string(*number) +
                                  ", but by its name the file is number " + std::to_string(place) +
                                  " (from 0)");
    }
    const auto total = last_split_key(split_count_key);
    if (!total || *total != count) {
      fail_last(split_count_key, "split.count is " +
                                     (total ? std::to_string(*total) : std::string{"missing"}) +
                                     ", but another shard says " + std::to_string(count));
    }
  }

  /// Checks the shard opened last against the first.
  void check_byte_order() const {
    const Shard& first = parts_.shards.front();
    const Shard& last = parts_.shards.back();
    if (last.byte_order() == first.byte_order()) return;
    const bool is_big = last.byte_order() == std::endian::big;
    throw ParseError{last.path(), 4,
                     std::string{"the shard is "} + (is_big ? "big" : "little") + "-endian, but " +
                         std::string{os::file_name_of(first.path())} +
                         " is not; convert one of them"};
  }

  void check_tensor_count() const {
    std::uint64_t tensors = 0;
    for (const Container& container : parts_.containers)
      tensors += container.tensors.size() + container.partial_tensors.size();
    for (std::size_t i = 0; i < parts_.containers.size(); ++i) {
      const Value* total = parts_.containers[i].metadata.find(split_tensors_key);
      if (total == nullptr || total->type() != ValueType::int32)
        fail(i, split_tensors_key, "split.tensors.count is missing or not int32");
      if (total->as_count() != tensors) {
        fail(i, split_tensors_key,
             "split.tensors.count is " + std::to_string(total->as<std::int32_t>()) +
                 ", but the shards hold " + std::to_string(tensors) + " tensors");
      }
    }
  }

  Reading reading_;
  Parts parts_;
};

}  // namespace allot::gguf::detail
