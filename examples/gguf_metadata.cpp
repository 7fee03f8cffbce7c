// SPDX-License-Identifier: MIT
// Prints what a GGUF file says about its model, and a few of its tokens by their numbers.
//
//     gguf_metadata ggml-vocab-llama-spm.gguf 1 2 29871
#include <allot/gguf/file.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

namespace gguf = allot::gguf;

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("Usage: gguf_metadata FILE.gguf [TOKEN...]\n", stderr);
    return 2;
  }
  try {
    const gguf::File file{argv[1]};
    const gguf::Metadata& metadata = file.metadata();
    const std::string architecture{metadata["general.architecture"].as<std::string_view>()};
    std::printf("%s, %zu tensors\n", architecture.c_str(), file.tensors().size());
    // A number of any type: the writer chose it.
    if (const gguf::Value* context = metadata.find(architecture + ".context_length"))
      std::printf("context of %llu tokens\n",
                  static_cast<unsigned long long>(context->as_count().value_or(0)));

    const gguf::Value* const value = metadata.find("tokenizer.ggml.tokens");
    if (value == nullptr) return 0;
    const gguf::Strings tokens = value->array().strings();
    std::printf("%llu tokens\n", static_cast<unsigned long long>(tokens.size()));
    for (int i = 2; i < argc; ++i) {
      const unsigned long number = std::strtoul(argv[i], nullptr, 10);
      if (number >= tokens.size()) continue;
      const std::string_view token = tokens[number];
      std::printf("%8lu  %.*s\n", number, static_cast<int>(token.size()), token.data());
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gguf_metadata: %s\n", error.what());
    return 1;
  }
}
