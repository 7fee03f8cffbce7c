// SPDX-License-Identifier: MIT
/// \file
/// `gguf::Container`: what one GGUF file holds before its tensor data.
#pragma once

#include <allot/gguf/metadata.hpp>
#include <allot/gguf/metadata_section.hpp>
#include <allot/gguf/partial_tensor.hpp>
#include <allot/gguf/tensor.hpp>

#include <bit>
#include <cstdint>
#include <vector>

namespace allot::gguf {

/// The contents of one container. The views point into `bytes`.
struct Container {
  MetadataBytes bytes;                           ///< as they are in the file
  Metadata metadata;                             ///< the pairs, in the file's order
  std::vector<TensorInfo> tensors;               ///< `shard` is still 0
  std::vector<PartialTensor> partial_tensors{};  ///< likewise; only of a lenient reading
  std::uint32_t version = 0;                     ///< of the format
  std::endian byte_order = std::endian::little;  ///< of the file
  std::uint64_t alignment = 32;                  ///< bytes, of tensor data
  std::uint64_t data_offset = 0;  ///< bytes from the start of the file to tensor data
};

}  // namespace allot::gguf
