// SPDX-License-Identifier: MIT
/// \file
/// `gguf::File`: a GGUF model, one file or all shards of a split one.
///
///     gguf::File file{"model.gguf"};
///     file.metadata()["llama.block_count"].as<std::uint32_t>();
///     for (const gguf::TensorInfo& tensor : file.tensors()) ...
#pragma once

#include <allot/core/deferred_containers.hpp>
#include <allot/gguf/detail/split_model.hpp>
#include <allot/gguf/error.hpp>
#include <allot/gguf/metadata.hpp>
#include <allot/gguf/name_index.hpp>
#include <allot/gguf/partial_tensor.hpp>
#include <allot/gguf/shard.hpp>
#include <allot/gguf/tensor.hpp>
#include <allot/os/path.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace allot::gguf {

class File;
/// Throws: `std::invalid_argument`, which names the first of the file's partial tensors, if it has any.
template <class Owner = void>
void require_complete(const File& file);

/// A model open for reading. Opening it reads and checks the metadata of every shard, but does not
/// read tensor data. Movable; views stay valid through moves, as long as the file exists.
class File {
  /// Returns the name at an index, for `NameIndex`.
  struct NameAt {
    const File* self;
    [[nodiscard]] std::string_view operator()(std::size_t place) const noexcept {
      const std::size_t complete = self->tensors_.size();
      return place < complete ? self->tensors_[place].name
                              : self->partial_tensors_[place - complete].name;
    }
  };

 public:
  /// \param path  the file, or any shard of a split one (`NAME-00001-of-00009.gguf`)
  /// \param reading  lenient: to look at a file of which not everything can be planned or loaded
  /// Throws: `ParseError`. Complexity: linear in the metadata.
  template <class PathType>
  requires std::is_convertible_v<const PathType&, os::Path>
  explicit File(const PathType& path, Reading reading = Reading::strict)
      : parts_{detail::ModelOpener<os::InputFile>::open(path, reading)} {
    if (parts_.shards.size() == 1) {
      tensors_ = std::move(parts_.containers.front().tensors);
      partial_tensors_ = std::move(parts_.containers.front().partial_tensors);
    } else {
      for (const auto& container : deferred<PathType>(parts_).containers) {
        tensors_.insert(tensors_.end(), container.tensors.begin(), container.tensors.end());
        partial_tensors_.insert(partial_tensors_.end(), container.partial_tensors.begin(),
                                container.partial_tensors.end());
      }
    }
    const std::size_t all = tensors_.size() + partial_tensors_.size();
    places_.reserve(all);
    for (std::size_t i = 0; i < all; ++i) {
      if (!places_.add(NameAt{this}(i), i, NameAt{this})) fail_twice(i);
    }
  }

  /// Returns the version of the format: 1 to 3.
  [[nodiscard]] std::uint32_t version() const noexcept { return parts_.containers.front().version; }
  /// In bytes: tensor offsets in the file are multiples of it.
  [[nodiscard]] std::uint64_t alignment() const noexcept {
    return parts_.containers.front().alignment;
  }
  /// Byte order of the tensor data; the same in every shard. Metadata are always in the host's
  /// order. `swap_byte_order` converts tensor data.
  [[nodiscard]] std::endian byte_order() const noexcept {
    return parts_.containers.front().byte_order;
  }

  /// Returns one for each file of the model, in order: a `std::span<const Shard>`.
  template <class Owner = void>
  [[nodiscard]] Deferred<std::span<const Shard>, Owner> shards() const noexcept {
    return {parts_.shards.data(), parts_.shards.size()};
  }

  /// Adds the tensors of another file, with `prefix` before their names, so that both are planned and
  /// loaded as one. The metadata stay this file's. Opens the other's shards again; it may go.
  /// Throws: `ParseError` if they cannot be opened or have other sizes; `std::invalid_argument` if a
  /// name is taken or either file has partial tensors, and then this file is unchanged.
  template <class Owner = void>
  void add(const File& other, std::string_view prefix) {
    deferred<Owner>(*this).add_file(other, prefix);
  }

  /// Returns the number of the file that a tensor was added from: 0 for this file's own, 1 for
  /// those of the first that was added. Complexity: linear in the files added.
  [[nodiscard]] std::uint32_t origin_of(const TensorInfo& tensor) const noexcept {
    std::uint32_t origin = 0;
    while (origin < added_.size() && added_[origin].first_shard <= tensor.shard) ++origin;
    return origin;
  }

  /// Returns the number of files that were added.
  [[nodiscard]] std::uint32_t added_files() const noexcept {
    return static_cast<std::uint32_t>(added_.size());
  }

  /// Returns the first shard's metadata, which has the model's keys.
  [[nodiscard]] const Metadata& metadata() const noexcept {
    return parts_.containers.front().metadata;
  }

  /// Returns all tensors, shard by shard, in file order; of a lenient reading those that are complete:
  /// a `std::span<const TensorInfo>`.
  template <class Owner = void>
  [[nodiscard]] Deferred<std::span<const TensorInfo>, Owner> tensors() const noexcept {
    return {tensors_.data(), tensors_.size()};
  }

  /// Returns the tensors of which a lenient reading cannot say all. A strict one refuses the file.
  template <class Owner = void>
  [[nodiscard]] Deferred<std::span<const PartialTensor>, Owner> partial_tensors() const noexcept {
    return {partial_tensors_.data(), partial_tensors_.size()};
  }

  /// Returns `nullptr` if there is no complete one of that name. Complexity: constant.
  template <class Owner = void>
  [[nodiscard]] const TensorInfo* find(std::string_view name) const noexcept {
    const auto found = places_.find(name, NameAt{&deferred<Owner>(*this)});
    return found && *found < tensors_.size() ? &tensors_[*found] : nullptr;
  }

  /// Returns a view of the tensor's bytes in the mapped file, unchanged: in the file's byte order
  /// (`byte_order`). Touching it faults if the file was truncated meanwhile; `Shard::read` reports
  /// that as an error instead.
  /// Throws: `ParseError` if the file cannot be mapped.
  template <class Owner = void>
  [[nodiscard]] DeferredSpan<const std::byte, Owner> data(const TensorInfo& tensor) const {
    if (tensor.bytes == 0) return {};
    const Shard& shard = parts_.shards[tensor.shard];
    return {shard.map().data() + shard.data_offset() + tensor.offset,
            static_cast<std::size_t>(tensor.bytes)};
  }

  /// Throws: `std::invalid_argument`, which names the tensor and what is not known of it.
  [[noreturn]] std::span<const std::byte> data(const PartialTensor& tensor) const {
    throw std::invalid_argument{tensor.why_partial()};
  }

 private:
  [[nodiscard]] std::uint32_t shard_of(std::size_t place) const noexcept {
    const std::size_t complete = tensors_.size();
    return place < complete ? tensors_[place].shard : partial_tensors_[place - complete].shard;
  }

  template <class Owner = void>
  [[noreturn]] void fail_twice(std::size_t place) const {
    const std::string_view name = NameAt{this}(place);
    const std::uint32_t first = shard_of(*places_.find(name, NameAt{&deferred<Owner>(*this)}));
    const std::uint32_t second = shard_of(place);
    throw ParseError{parts_.shards[second].path(),
                     parts_.containers[second].bytes.position_of(name),
                     "tensor " + std::string{name} + " is in " +
                         std::string{os::file_name_of(parts_.shards[first].path())} + " already"};
  }

  /// Another file's part of this one.
  struct AddedFile {
    std::vector<char> names;  // of its tensors; they stay in place when this is moved
    std::uint32_t first_shard;
  };

  template <class Other>
  void add_file(const Other& other, std::string_view prefix) {
    require_complete(*this);
    require_complete(other);
    AddedFile added{{}, static_cast<std::uint32_t>(parts_.shards.size())};
    auto tensors = named(other, prefix, added.names);
    DeferredVector<Shard, Other> opened;
    for (const auto& shard : other.shards()) opened.push_back(shard.opened_again());
    for (auto& tensor : tensors) tensor.shard += added.first_shard;
    parts_.shards.reserve(parts_.shards.size() + opened.size());
    tensors_.reserve(tensors_.size() + tensors.size());
    places_.reserve(tensors_.size() + tensors.size());
    added_.push_back(std::move(added));
    for (auto& shard : opened) parts_.shards.push_back(std::move(shard));
    for (const auto& tensor : tensors) {
      tensors_.push_back(tensor);
      static_cast<void>(places_.add(tensor.name, tensors_.size() - 1, NameAt{this}));
    }
  }

  /// Returns another file's tensors under new names, whose letters go to `letters`.
  /// Throws: `std::invalid_argument` if this file has one of the names.
  template <class Other>
  [[nodiscard]] DeferredVector<TensorInfo, Other> named(const Other& other, std::string_view prefix,
                                                        std::vector<char>& letters) const {
    std::size_t size = 0;
    for (const auto& tensor : other.tensors()) size += prefix.size() + tensor.name.size();
    letters.reserve(size);
    DeferredVector<TensorInfo, Other> tensors(other.tensors().begin(), other.tensors().end());
    for (auto& tensor : tensors) {
      const char* const name = letters.data() + letters.size();
      letters.insert(letters.end(), prefix.begin(), prefix.end());
      letters.insert(letters.end(), tensor.name.begin(), tensor.name.end());
      tensor.name = {name, prefix.size() + tensor.name.size()};
      if (find(tensor.name) != nullptr) {
        throw std::invalid_argument{"tensor " + std::string{tensor.name} + " of " +
                                    other.shards().front().path() +
                                    " has the name of one that is there already; add the file "
                                    "with another prefix"};
      }
    }
    return tensors;
  }

  detail::Parts parts_;
  std::vector<TensorInfo> tensors_;
  std::vector<PartialTensor> partial_tensors_;
  NameIndex places_;
  std::vector<AddedFile> added_;
};

template <class Owner>
void require_complete(const File& file) {
  for (const auto& tensor : deferred<Owner>(file).partial_tensors())
    static_cast<void>(file.data(tensor));
}

}  // namespace allot::gguf
