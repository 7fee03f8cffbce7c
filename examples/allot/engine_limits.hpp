// SPDX-License-Identifier: MIT
/// \file
/// What an engine cannot read of a file that allot can.
#pragma once

#include <allot/gguf/file.hpp>

#include <string>
#include <vector>

/// Returns a sentence for each of the file's properties that llama.cpp (v0.5.0) refuses.
[[nodiscard]] std::vector<std::string> beyond_llama_cpp(const allot::gguf::File& file);
