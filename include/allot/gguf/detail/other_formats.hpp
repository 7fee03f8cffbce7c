// SPDX-License-Identifier: MIT
/// \file
/// Names what a file that is not GGUF is instead, by its first bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace allot::gguf::detail {

/// How many bytes of a file `other_format` looks at.
inline constexpr std::size_t recognized_bytes = 64;

struct OtherFormat {
  std::string_view start;
  const char* what;
};

inline constexpr OtherFormat other_formats[] = {
    {"version https://git-lfs",
     "a git-lfs pointer, not the model itself; fetch it with: git lfs pull"},
    {"<!DOCTYPE", "the magic is not GGUF: an HTML page; download the file itself"},
    {"<!doctype", "the magic is not GGUF: an HTML page; download the file itself"},
    {"<html", "the magic is not GGUF: an HTML page; download the file itself"},
    {"PK\x03\x04", "the magic is not GGUF: a ZIP archive (as of PyTorch); extract or convert it"},
    {"\x1f\x8b", "the magic is not GGUF: compressed with gzip; decompress it with: gunzip"},
    {"\x28\xb5\x2f\xfd", "the magic is not GGUF: compressed with zstd; decompress it with: unzstd"},
    {"\xfd\x37zXZ", "the magic is not GGUF: compressed with xz; decompress it with: unxz"},
    {"7z\xbc\xaf", "the magic is not GGUF: a 7z archive; extract it"},
    {"FUGG", "the magic is FUGG: a container from before GGUF was settled; convert it again"},
    {"lmgg", "the magic is not GGUF: a model of before GGUF (GGML); convert it again"},
    {"fmgg", "the magic is not GGUF: a model of before GGUF (GGMF); convert it again"},
    {"tjgg", "the magic is not GGUF: a model of before GGUF (GGJT); convert it again"},
    {"{\"", "the magic is not GGUF: a JSON text; an index, or a server's error"},
};

/// The format does not state its byte order; its version is a small number in only one of the two.
[[nodiscard]] constexpr bool is_big_endian(std::uint32_t version) noexcept {
  return version != 0 && (version & 0xffff) == 0;
}

/// Returns whether a file begins like one of a converter to big-endian that also swapped the magic.
[[nodiscard]] constexpr bool has_swapped_magic(std::string_view start) noexcept {
  return start.starts_with("FUGG") && start.size() >= 8 && start[4] == 0 && start[5] == 0 &&
         (start[6] != 0 || start[7] != 0);
}

/// \param start  the first bytes of the file, up to `recognized_bytes`
[[nodiscard]] constexpr const char* other_format(std::string_view start) noexcept {
  for (const OtherFormat& format : other_formats) {
    if (start.starts_with(format.start)) return format.what;
  }
  if (start.size() > 10 && start.substr(8, 2) == "{\"")
    return "the magic is not GGUF: safetensors; convert it to GGUF";
  for (const char byte : start) {
    if (byte != '\0') return "the magic is not GGUF";
  }
  return "the file begins with zeros, not with GGUF; was its download interrupted?";
}

}  // namespace allot::gguf::detail
