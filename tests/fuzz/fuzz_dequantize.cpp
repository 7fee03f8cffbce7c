// SPDX-License-Identifier: MIT
// Blocks of any bytes are dequantized: all of `out`, nothing beside it, twice the same, in all
// three formats alike; sizes that do not agree are refused.
//
// Input: a byte for the type, a byte that is 1 or 2 where the sizes do not agree, blocks.
#include <allot/gguf/dequantize.hpp>

#include <bit>
#include <cstring>
#include <memory>
#include <type_traits>

#include "input.hpp"

namespace {

using namespace allot;

/// Out of a heap block of exactly that size, filled with `before` first.
template <class T>
std::unique_ptr<T[]> dequantized(gguf::TensorType type, std::span<const std::byte> blocks,
                                 std::size_t elements, int before) {
  std::unique_ptr<T[]> out{new T[elements]};
  if (elements != 0) std::memset(static_cast<void*>(out.get()), before, elements * sizeof(T));
  gguf::dequantize(type, blocks, std::span<T>{out.get(), elements});
  return out;
}

template <class T>
bool is_refused(gguf::TensorType type, std::span<const std::byte> blocks, std::size_t elements) {
  try {
    static_cast<void>(dequantized<T>(type, blocks, elements, 0));
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

/// To the bit, but that any NaN is any other.
bool same(float a, float b) {
  return (a != a && b != b) || std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

void check_values(gguf::TensorType type, std::span<const std::byte> blocks, std::size_t elements) {
  const auto wide = dequantized<float>(type, blocks, elements, 0x00);
  const auto again = dequantized<float>(type, blocks, elements, 0xff);
  fuzz::require(elements == 0 || std::memcmp(wide.get(), again.get(), elements * 4) == 0,
                "every element is written, each time the same");
  const auto half = dequantized<gguf::Float16>(type, blocks, elements, 0);
  const auto brain = dequantized<gguf::BFloat16>(type, blocks, elements, 0);
  for (std::size_t i = 0; i < elements; ++i) {
    fuzz::require(same(gguf::to_float(half[i]), gguf::to_float(gguf::to_float16(wide[i]))) &&
                      same(gguf::to_float(brain[i]), gguf::to_float(gguf::to_bfloat16(wide[i]))),
                  "16 bits are the float, rounded");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 2) return 0;
  const gguf::TypeInfo info = gguf::tensor_types[bytes[0] % gguf::tensor_types.size()];
  const std::uint8_t mismatch = bytes[1];
  std::span<const std::byte> blocks = std::as_bytes(std::span{bytes + 2, size - 2});
  if (mismatch != 2) blocks = blocks.first(blocks.size() - blocks.size() % info.block_bytes);
  std::size_t elements = blocks.size() / info.block_bytes * info.block_elements;
  if (mismatch == 1) ++elements;

  const bool agrees = blocks.size() % info.block_bytes == 0 && mismatch != 1;
  if (!agrees || !gguf::has_values(info.type)) {
    fuzz::require(is_refused<float>(info.type, blocks, elements) &&
                      is_refused<gguf::Float16>(info.type, blocks, elements) &&
                      is_refused<gguf::BFloat16>(info.type, blocks, elements),
                  "what cannot be dequantized is refused");
    return 0;
  }
  check_values(info.type, blocks, elements);
  return 0;
}
