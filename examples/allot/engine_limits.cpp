// SPDX-License-Identifier: MIT
#include "engine_limits.hpp"

#include <allot/core/checked.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "output.hpp"

namespace {

namespace gguf = allot::gguf;

constexpr std::size_t most_named = 3;

/// Collects names, and makes one sentence of them.
class Noted {
 public:
  explicit Noted(std::string rule) : rule_{std::move(rule)} {}

  void add(std::string_view name) {
    if (count_++ >= most_named) return;
    names_ += (names_.empty() ? "" : ", ") + printable(name);
  }
  void add_to(std::vector<std::string>& notes) const {
    if (count_ == 0) return;
    const std::string more =
        count_ > most_named ? fmt::format(" and {} more", count_ - most_named) : "";
    notes.push_back(rule_ + ": " + names_ + more);
  }

 private:
  std::string rule_;
  std::string names_;
  std::size_t count_ = 0;
};

bool has_arrays(const gguf::Value& value) {
  return value.type() == gguf::ValueType::array &&
         value.array().element_type() == gguf::ValueType::array;
}

/// A tensor of either kind, as far as its place is concerned.
struct Place {
  std::string_view name;
  std::uint32_t shard;
  std::uint64_t offset;
  std::optional<std::uint64_t> bytes;
};

/// The tensors of both kinds in the order of the tables in which they stand.
std::vector<Place> places_of(const gguf::File& file) {
  std::vector<Place> places;
  for (const gguf::TensorInfo& tensor : file.tensors())
    places.push_back({tensor.name, tensor.shard, tensor.offset, tensor.bytes});
  for (const gguf::PartialTensor& tensor : file.partial_tensors())
    places.push_back({tensor.name, tensor.shard, tensor.offset, tensor.bytes});
  // Names are views of their table.
  std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return a.shard != b.shard ? a.shard < b.shard : a.name.data() < b.name.data();
  });
  return places;
}

/// ggml wants each tensor right behind the one before it.
std::optional<std::string> first_gap(const gguf::File& file) {
  std::uint64_t expected = 0;
  std::uint32_t shard = 0;
  for (const Place& place : places_of(file)) {
    if (place.shard != shard) expected = 0;
    shard = place.shard;
    if (place.offset != expected) {
      return fmt::format(
          "tensor data without gaps, in the order of the table: {} begins at {}, not {}",
          printable(place.name), place.offset, expected);
    }
    if (!place.bytes) return std::nullopt;
    expected = allot::checked_align_up(expected + *place.bytes, file.alignment()).value_or(0);
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> beyond_llama_cpp(const gguf::File& file) {
  std::vector<std::string> notes;
  if (file.version() < 2)
    notes.push_back(fmt::format("version 2 or 3: the file is of version {}", file.version()));
  if (file.byte_order() != std::endian::little)
    notes.push_back("little-endian files on this machine: the file is big-endian");
  if (file.metadata().find("general.architecture") == nullptr)
    notes.push_back("general.architecture: the file does not have it");

  Noted arrays{"no arrays of arrays"};
  for (const gguf::Value& value : file.metadata()) {
    if (has_arrays(value)) arrays.add(value.key());
  }
  arrays.add_to(notes);

  constexpr std::size_t longest_name = 63;  // GGML_MAX_NAME, with a zero behind
  Noted names{fmt::format("names of up to {} bytes", longest_name)};
  for (const Place& place : places_of(file)) {
    if (place.name.size() > longest_name) names.add(place.name);
  }
  names.add_to(notes);
  Noted dimensions{"up to 4 dimensions"};
  Noted types{"types that it knows"};
  for (const gguf::PartialTensor& tensor : file.partial_tensors()) {
    if (tensor.dimensions.size() > 4) dimensions.add(tensor.name);
    if (!tensor.bytes) types.add(tensor.name);
  }
  dimensions.add_to(notes);
  types.add_to(notes);
  if (auto gap = first_gap(file)) notes.push_back(*std::move(gap));

  Noted shards{"names of shards that end in .gguf"};
  for (const gguf::Shard& shard : file.shards()) {
    if (file.shards().size() > 1 && !shard.path().ends_with(".gguf"))
      shards.add(allot::os::file_name_of(shard.path()));
  }
  shards.add_to(notes);
  return notes;
}
