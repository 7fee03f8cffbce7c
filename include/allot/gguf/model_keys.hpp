// SPDX-License-Identifier: MIT
/// \file
/// `gguf::ModelKeys`: a model's own numbers, which its file keeps as `ARCHITECTURE.key`, as an engine
/// needs them: of whatever type they have in the file, with a value for those that may be left out,
/// and refused by name where they are missing or wrong.
///
///     const gguf::ModelKeys keys{file};
///     keys.count("embedding_length");
///     keys.number("rope.freq_base", 10000);
///
/// `model_shape_of` (`model_shape.hpp`) reads the attention of each layer.
#pragma once

#include <allot/core/checked.hpp>
#include <allot/gguf/file.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace allot::gguf {

/// The keys of a file's architecture. Valid as long as the file.
class ModelKeys {
 public:
  /// Throws: `std::out_of_range` if the file names no architecture; `std::invalid_argument` if that
  /// is not a text.
  explicit ModelKeys(const File& file)
      : metadata_{&file.metadata()},
        architecture_{(*metadata_)["general.architecture"].as<std::string_view>()} {}

  /// Returns the file's architecture.
  [[nodiscard]] const std::string& architecture() const noexcept { return architecture_; }

  /// Returns the value of `ARCHITECTURE.key`; null if there is none.
  [[nodiscard]] const Value* find(std::string_view key) const {
    return metadata_->find(name_of(key));
  }

  /// Returns a text. \param otherwise  what it is if the file does not say
  /// Throws: `std::invalid_argument` if it is not a text.
  [[nodiscard]] std::string_view text(std::string_view key, std::string_view otherwise) const {
    const Value* const value = find(key);
    return value == nullptr ? otherwise : value->as<std::string_view>();
  }

  /// Returns a whole number from 1 to `most`, of any integer type.
  /// \param otherwise  what it is if the file does not say; 0: that is an error
  /// Throws: `std::runtime_error` if it is missing, or no such number.
  [[nodiscard]] std::uint64_t count(std::string_view key, std::uint64_t otherwise = 0,
                                    std::uint64_t most = largest_of<std::uint32_t>) const {
    const Value* const value = find(key);
    if (value == nullptr && otherwise == 0) refuse(key, "is missing");
    const std::uint64_t count = value == nullptr ? otherwise : value->as_count().value_or(0);
    if (count == 0 || count > most)
      refuse(key, "is not a whole number from 1 to " + std::to_string(most));
    return count;
  }

  /// Returns a finite number above 0, of either type of floats.
  /// \param otherwise  what it is if the file does not say; 0: that is an error
  /// Throws: as `count`.
  [[nodiscard]] double number(std::string_view key, double otherwise = 0) const {
    const Value* const value = find(key);
    if (value == nullptr && otherwise == 0) refuse(key, "is missing");
    double number = value == nullptr ? otherwise : 0;
    if (value != nullptr && value->type() == ValueType::float32)
      number = static_cast<double>(value->as<float>());
    if (value != nullptr && value->type() == ValueType::float64) number = value->as<double>();
    if (!(number > 0 && number - number == 0)) refuse(key, "is not a finite number above 0");
    return number;
  }

 private:
  [[nodiscard]] std::string name_of(std::string_view key) const {
    return architecture_ + "." + std::string{key};
  }
  [[noreturn]] void refuse(std::string_view key, const std::string& what) const {
    throw std::runtime_error{"metadata " + name_of(key) + " " + what};
  }

  const Metadata* metadata_;
  std::string architecture_;
};

}  // namespace allot::gguf
