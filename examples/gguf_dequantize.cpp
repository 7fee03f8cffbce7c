// SPDX-License-Identifier: MIT
/// \file
/// Prints the values of a tensor of any type: the first few, the least, the greatest, the mean.
///
///     gguf_dequantize FILE.gguf [TENSOR]
///
/// Without a name: the first quantized tensor. Exit status: 1 if the file or the tensor cannot
/// be read, 2 for wrong usage.
#include <allot/gguf/dequantize.hpp>
#include <allot/gguf/file.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace gguf = allot::gguf;

const gguf::TensorInfo& first_quantized(const gguf::File& file, const std::string& path) {
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (gguf::type_info(tensor.type).block_elements > 1 && gguf::has_values(tensor.type))
      return tensor;
  }
  throw std::runtime_error{path + ": none of its " + std::to_string(file.tensors().size()) +
                           " tensors is quantized; name the one to print"};
}

const gguf::TensorInfo& named(const gguf::File& file, const std::string& path, const char* name) {
  if (const gguf::TensorInfo* tensor = file.find(name)) return *tensor;
  std::string error = path + ": none of its " + std::to_string(file.tensors().size()) +
                      " tensors is named \"" + name + "\"";
  if (!file.tensors().empty())
    error += "; the first is \"" + std::string{file.tensors().front().name} + "\"";
  throw std::runtime_error{error};
}

/// Works on a part at a time, so that memory does not grow with the tensor. Parts are whole blocks.
void print(const gguf::File& file, const gguf::TensorInfo& tensor) {
  const gguf::TypeInfo type = gguf::type_info(tensor.type);
  const std::span<const std::byte> bytes = file.data(tensor);
  const std::size_t blocks = bytes.size() / type.block_bytes;
  std::printf("%s: %s, %llu elements\n", std::string{tensor.name}.c_str(),
              std::string{type.name}.c_str(),
              static_cast<unsigned long long>(tensor.shape.elements()));

  constexpr std::size_t at_once = 256;
  std::vector<float> values(at_once * type.block_elements);
  double sum = 0;
  float least = INFINITY;
  float greatest = -INFINITY;
  for (std::size_t block = 0; block < blocks; block += at_once) {
    const std::size_t count = std::min(at_once, blocks - block);
    const auto part = std::span{values}.first(count * type.block_elements);
    gguf::dequantize(tensor.type, bytes.subspan(block * type.block_bytes, count * type.block_bytes),
                     part);
    if (block == 0) {
      std::printf("first ");
      for (const float value : part.first(std::min<std::size_t>(8, part.size())))
        std::printf(" %.9g", static_cast<double>(value));
      std::printf("\n");
    }
    for (const float value : part) {
      sum += static_cast<double>(value);
      least = std::min(least, value);
      greatest = std::max(greatest, value);
    }
  }
  if (blocks == 0) return;
  std::printf("min    %.9g\nmax    %.9g\nmean   %.9g\n", static_cast<double>(least),
              static_cast<double>(greatest),
              sum / static_cast<double>(blocks * type.block_elements));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: gguf_dequantize FILE.gguf [TENSOR]\n");
    return 2;
  }
  try {
    const gguf::File file{argv[1]};
    print(file, argc == 3 ? named(file, argv[1], argv[2]) : first_quantized(file, argv[1]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gguf_dequantize: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
