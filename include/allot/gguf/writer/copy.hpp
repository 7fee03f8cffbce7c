// SPDX-License-Identifier: MIT
/// \file
/// Makes files from files: a writer with the contents of a model, to change, split or merge it.
///
///     gguf::File file{"model-00001-of-00003.gguf"};
///     gguf::copy_of(file).write("model.gguf");              // one file
///     gguf::copy_of(file).write_split("other", {{}, 2'000'000'000});
#pragma once

#include <allot/gguf/byte_order.hpp>
#include <allot/gguf/file.hpp>
#include <allot/gguf/split_names.hpp>
#include <allot/gguf/writer/writer.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace allot::gguf {

/// Adds a tensor of a file, which the writer then does not replace. Its bytes are read during writing,
/// and written in little-endian order.
/// \param file  must exist until then
/// Throws: as `Writer::add_tensor`; during writing, `ParseError` if the file cannot be read.
template <class = void>
void add_tensor(Writer& writer, const File& file, const TensorInfo& tensor) {
  const Shard& shard = file.shards()[tensor.shard];
  writer.add_source(shard.file().id(), shard.path());
  writer.add_tensor(std::string{tensor.name}, tensor.type, tensor.shape,
                    [&shard, offset = shard.data_offset() + tensor.offset, type = tensor.type](
                        std::uint64_t at, std::span<std::byte> piece) {
                      shard.read(offset + at, piece);
                      if (shard.byte_order() != std::endian::little) swap_byte_order(type, piece);
                    });
}

/// Returns a writer with everything that a model has, except the keys that describe its shards.
/// Tensors follow one another without gaps, in the order of the file.
/// \param file  must exist until the writing ends
/// \param version  of the format
/// Complexity: linear in pairs and tensors.
/// Throws: `std::invalid_argument` for a file with partial tensors (`gguf::Reading::lenient`).
template <class = void>
Writer copy_of(const File& file, std::uint32_t version = 3) {
  require_complete(file);
  Writer writer{version};
  for (const Value& value : file.metadata()) {
    if (!is_split_key(value.key())) writer.add(value);
  }
  for (const Shard& shard : file.shards()) writer.add_source(shard.file().id(), shard.path());
  for (const TensorInfo& tensor : file.tensors()) add_tensor(writer, file, tensor);
  return writer;
}

}  // namespace allot::gguf
