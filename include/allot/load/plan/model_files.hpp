// SPDX-License-Identifier: MIT
/// \file
/// `ModelFiles`: a model and the files that share its memory, planned and loaded as one.
///
/// | kind        | known from                                                  | its tensors     |
/// |-------------|-------------------------------------------------------------|-----------------|
/// | `model`     | it is the first                                             | `NAME`          |
/// | `projector` | `general.type` = `mmproj`, or `clip.*` keys                 | `mmproj:NAME`   |
/// | `adapter`   | `general.type` = `adapter`, or `adapter.*` keys             | `lora:NAME`     |
/// | `draft`     | it is added by `add_draft`: another model, with a cache     | `draft:NAME`    |
///
/// The second file of a kind is `mmproj2:NAME`, and so on.
#pragma once

#include <allot/gguf/file.hpp>
#include <allot/load/plan/grouping.hpp>
#include <allot/load/plan/make_plan.hpp>
#include <allot/load/plan/weight_policy.hpp>
#include <allot/os/smart_pointers.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace allot::load {

/// What a file is to the model that it is loaded with.
enum class FileKind { model, projector, adapter, draft };

/// Returns the word for it in the names of tensors; `model` for a model.
[[nodiscard]] constexpr const char* to_text(FileKind kind) noexcept {
  constexpr const char* names[] = {"model", "mmproj", "lora", "draft"};
  return names[static_cast<std::size_t>(kind)];
}

/// Returns what a file's metadata say that it is: never `draft`, which is a model by itself.
/// Complexity: linear in the keys.
template <class = void>
[[nodiscard]] FileKind file_kind_of(const gguf::File& file) {
  const auto text_of = [&](const char* key) -> std::string_view {
    const gguf::Value* value = file.metadata().find(key);
    if (value == nullptr || value->type() != gguf::ValueType::string) return {};
    return value->as<std::string_view>();
  };
  const std::string_view type = text_of("general.type");
  if (type == "mmproj") return FileKind::projector;
  if (type == "adapter") return FileKind::adapter;
  if (text_of("general.architecture") == "clip") return FileKind::projector;
  for (const gguf::Value& value : file.metadata()) {
    if (value.key().starts_with("adapter.")) return FileKind::adapter;
    if (value.key().starts_with("clip.")) return FileKind::projector;
  }
  return FileKind::model;
}

/// A model and what is loaded with it. It is a `gguf::File` for everything that plans, checks, loads
/// and verifies one. Movable.
class ModelFiles {
 public:
  /// One of the files.
  struct Entry {
    std::string path;            ///< of the file
    FileKind kind;               ///< what the file has
    std::string prefix;          ///< of its tensors' names; empty for the model
    std::uint64_t tensors;       ///< how many it has
    std::uint64_t tensor_bytes;  ///< of their data
  };

  /// Begins with the model.
  explicit ModelFiles(gguf::File model) : joined_{std::move(model)} {
    entries_.push_back(entry_of(joined_, FileKind::model, {}));
  }

  /// Adds a projector or an adapter.
  /// Throws: `std::invalid_argument` for a file that is neither; `gguf::ParseError`. Nothing is
  /// added then.
  template <class = void>
  void add(const gguf::File& file) {
    const FileKind kind = file_kind_of(file);
    if (kind == FileKind::model) {
      throw std::invalid_argument{file.shards().front().path() +
                                  " is neither a projector (general.type = mmproj) nor an adapter "
                                  "(general.type = adapter), but a model; a draft model is added "
                                  "as one"};
    }
    join(file, kind);
  }

  /// Adds a draft model: its tensors, and its cache if the plan has caches.
  /// Throws: `std::invalid_argument` for a projector, an adapter, or a second draft;
  /// `gguf::ParseError`. Nothing is added then.
  template <class = void>
  void add_draft(gguf::File file) {
    const std::string& path = file.shards().front().path();
    if (draft_) throw std::invalid_argument{path + " would be a second draft model; give one"};
    if (const FileKind kind = file_kind_of(file); kind != FileKind::model) {
      throw std::invalid_argument{path + " is not a draft model but " +
                                  (kind == FileKind::adapter ? "an adapter" : "a projector") +
                                  "; add it as that"};
    }
    auto draft = std::make_unique<gguf::File>(std::move(file));
    join(*draft, FileKind::draft);
    draft_ = std::move(draft);
  }

  /// Returns all of them as one file, whose metadata are the model's.
  [[nodiscard]] const gguf::File& joined() const noexcept { return joined_; }
  /// Returns `joined()`: for whatever takes a file.
  operator const gguf::File&() const noexcept {  // NOLINT(google-explicit-constructor)
    return joined_;
  }

  /// Returns the draft model, or null. It stays where it is when this is moved.
  [[nodiscard]] const gguf::File* draft() const noexcept { return draft_.get(); }

  /// Returns the files in the order of `ItemLayout::file`: the model first.
  [[nodiscard]] std::span<const Entry> files() const noexcept { return entries_; }

 private:
  [[nodiscard]] static Entry entry_of(const gguf::File& file, FileKind kind, std::string prefix) {
    Entry entry{file.shards().front().path(), kind, std::move(prefix), file.tensors().size(), 0};
    for (const gguf::TensorInfo& tensor : file.tensors()) entry.tensor_bytes += tensor.bytes;
    return entry;
  }

  void join(const gguf::File& file, FileKind kind) {
    std::size_t number = 1;
    for (const Entry& entry : entries_) number += entry.kind == kind ? 1 : 0;
    std::string prefix = to_text(kind);
    if (number > 1) prefix += std::to_string(number);
    prefix += ':';
    Entry entry = entry_of(file, kind, prefix);
    entries_.reserve(entries_.size() + 1);
    joined_.add(file, prefix);
    entries_.push_back(std::move(entry));
  }

  gguf::File joined_;
  std::unique_ptr<gguf::File> draft_;
  std::vector<Entry> entries_;
};

/// Plans the memory of several files as one, with the draft model's cache.
/// Throws: as `make_plan` for one file.
template <WeightPolicy Policy = DefaultWeights, GroupingPolicy Grouping = OneArena>
[[nodiscard]] Plan make_plan(const ModelFiles& files, PlanOptions options = {},
                             const Grouping& grouping = {}) {
  options.draft = files.draft();
  return make_plan<Policy>(files.joined(), options, grouping);
}

}  // namespace allot::load
