// SPDX-License-Identifier: MIT
// Any bytes are read or refused, strictly and leniently, and what is read is as `gguf::File` promises.
#include "walk.hpp"

namespace {

using namespace allot;

/// Returns whether a strict reading accepts the file.
bool read_strictly(const std::filesystem::path& path, std::size_t size) {
  try {
    gguf::File file{path};
    fuzz::walk(file);
    fuzz::require(file.partial_tensors().empty(), "a strict reading has complete tensors only");
    const std::string_view name = file.tensors().empty() ? "" : file.tensors().back().name;
    const gguf::File moved{std::move(file)};
    fuzz::require(name.empty() || moved.find(name) == &moved.tensors().back(),
                  "views stay valid through moves");
    return true;
  } catch (const gguf::ParseError& error) {
    fuzz::check_refusal(error, size);
    return false;
  }
}

void read_leniently(const std::filesystem::path& path, bool is_accepted, std::size_t size) {
  try {
    const gguf::File file{path, gguf::Reading::lenient};
    fuzz::walk(file, gguf::limits::key_bytes);
    fuzz::walk_partial_tensors(file);
    fuzz::require(!is_accepted || file.partial_tensors().empty(),
                  "what a strict reading accepts has no partial tensors");
  } catch (const gguf::ParseError& error) {
    fuzz::require(!is_accepted, "a lenient reading accepts what a strict one does");
    fuzz::check_refusal(error, size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static fuzz::InputFiles files;
  const std::filesystem::path& path = files.set({bytes, size});
  read_leniently(path, read_strictly(path, size), size);
  return 0;
}
