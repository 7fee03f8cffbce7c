// SPDX-License-Identifier: MIT
// Any bytes are read or refused, and what is read is as `gguf::File` promises.
#include "walk.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace allot;
  static fuzz::InputFiles files;
  try {
    gguf::File file{files.set({bytes, size})};
    fuzz::walk(file);
    const std::string_view name = file.tensors().empty() ? "" : file.tensors().back().name;
    const gguf::File moved{std::move(file)};
    fuzz::require(name.empty() || moved.find(name) == &moved.tensors().back(),
                  "views stay valid through moves");
  } catch (const gguf::ParseError& error) {
    fuzz::check_refusal(error, size);
  }
  return 0;
}
