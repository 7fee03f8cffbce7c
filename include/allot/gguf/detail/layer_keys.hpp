// SPDX-License-Identifier: MIT
/// \file
/// Counts in a file's metadata, one for the model or one for each layer, up to the first problem.
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/metadata_rules.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace allot::gguf::detail {

/// Reads the keys `ARCHITECTURE.*`. After a problem everything is empty or 0.
///
/// \tparam Caller  until what has it is compiled, no part of this is
template <class Caller>
class LayerKeys {
 public:
  LayerKeys(const File& file, const MetadataRules& rules, std::string architecture)
      : file_{file}, rules_{rules}, prefix_{std::move(architecture) + "."} {}

  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
  [[nodiscard]] bool has_failed() const noexcept { return !problem_.empty(); }
  [[nodiscard]] DeferredVector<std::string, Caller> take_assumptions() {
    return std::move(assumed_);
  }
  void assume(std::string sentence) { assumed_.push_back(std::move(sentence)); }

  /// Records a problem; only the first counts. Returns false.
  bool fail(const std::string& key, const std::string& what) {
    if (problem_.empty()) problem_ = prefix_ + key + " " + what;
    return false;
  }
  bool fail_with(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }

  [[nodiscard]] const Value* find(const char* key) const {
    return file_.metadata().find(prefix_ + key);
  }
  [[nodiscard]] bool has(const char* key) const { return find(key) != nullptr; }
  [[nodiscard]] bool is_list(const char* key) const {
    const Value* value = find(key);
    return value != nullptr && value->type() == ValueType::array;
  }

  /// Returns the count under a key, or nothing if there is no such key.
  [[nodiscard]] std::optional<std::uint64_t> count(const char* key) {
    const Value* value = find(key);
    if (value == nullptr || has_failed()) return std::nullopt;
    const auto count = value->as_count();
    if (!count) {
      fail(key, value->type() == ValueType::array ? "is a list, not a count" : "is not a count");
    } else if (rules_.only_32_bit_counts && value->type() != ValueType::uint32) {
      fail(key, "is " + std::string{to_text(value->type())} + ", and " +
                    std::string{rules_.engine} + " reads uint32 alone");
      return std::nullopt;
    }
    return count;
  }
  [[nodiscard]] std::uint64_t count_or(const char* key, std::uint64_t otherwise) {
    return count(key).value_or(otherwise);
  }
  [[nodiscard]] std::uint64_t required(const char* key) {
    const auto found = count(key);
    if (!found && !has_failed()) fail(key, "is missing");
    return found.value_or(0);
  }

  /// Returns a truth value under a key, or nothing.
  [[nodiscard]] DeferredOptional<bool, Caller> truth(const char* key) const {
    const Value* value = find(key);
    if (value == nullptr || value->type() != ValueType::boolean) return std::nullopt;
    return value->as<bool>();
  }

  /// Returns the elements of a list; booleans count as 0 and 1.
  [[nodiscard]] DeferredVector<std::uint64_t, Caller> list(const char* key) {
    DeferredVector<std::uint64_t, Caller> counts;
    const Value* value = find(key);
    if (value == nullptr || has_failed()) return counts;
    const Array array = value->array();
    const char* problem = "is not an array of counts";
    with_number_type(array.element_type(), [&]<class Number>(Number) {
      if constexpr (std::is_integral_v<Number>) {
        problem = sizeof(Number) == 4 || std::is_same_v<Number, bool> || !rules_.only_32_bit_counts
                      ? nullptr
                      : "has elements that are not 32 bits wide";
        for (std::uint64_t i = 0; problem == nullptr && i < array.size(); ++i) {
          const Number number = array.values<Number>()[i];
          if constexpr (std::is_signed_v<Number>) {
            if (number < 0) problem = "has a negative element";
          }
          counts.push_back(static_cast<std::uint64_t>(number));
        }
      }
    });
    if (problem == nullptr) return counts;
    fail(key, problem);
    return {};
  }

  /// Returns a count for each layer: the elements of a list, or one number for all; nothing if there
  /// is no such key. A list may leave out the last layers, from `needed` on: they are taken to be
  /// like the last that it has.
  [[nodiscard]] std::optional<DeferredVector<std::uint64_t, Caller>> each(const char* key,
                                                                          std::uint64_t layers,
                                                                          std::uint64_t needed) {
    if (!has(key) || has_failed()) return std::nullopt;
    if (!is_list(key)) {
      const auto same = count(key);
      if (!same) return std::nullopt;
      return DeferredVector<std::uint64_t, Caller>(static_cast<std::size_t>(layers), *same);
    }
    DeferredVector<std::uint64_t, Caller> counts = list(key);
    if (has_failed()) return std::nullopt;
    if (counts.size() != layers && rules_.lists_match_layers) {
      fail(key, "has " + std::to_string(counts.size()) + " elements, and " +
                    std::string{rules_.engine} + " expects " + std::to_string(layers));
      return std::nullopt;
    }
    if (counts.size() < needed || counts.empty()) {
      fail(key, "has fewer elements than there are layers");
      return std::nullopt;
    }
    if (counts.size() < layers) {
      assume(prefix_ + key + " has " + std::to_string(counts.size()) + " elements for " +
             std::to_string(layers) + " layers: the last ones are taken to be like layer " +
             std::to_string(counts.size() - 1) + ".");
      const std::uint64_t last = counts.back();
      counts.resize(static_cast<std::size_t>(layers), last);
    }
    counts.resize(static_cast<std::size_t>(layers));
    return counts;
  }

  [[nodiscard]] bool has_tensor(const std::string& name) const {
    return file_.find(name) != nullptr;
  }
  [[nodiscard]] const std::string& prefix() const noexcept { return prefix_; }

 private:
  const File& file_;
  const MetadataRules& rules_;
  std::string prefix_;
  std::string problem_;
  DeferredVector<std::string, Caller> assumed_;
};

}  // namespace allot::gguf::detail
