// SPDX-License-Identifier: MIT
/// \file
/// Text from outside, made safe to print.
#pragma once

#include <string>
#include <string_view>

/// Returns the text with control characters and bytes that are not UTF-8 replaced: safe to print.
std::string printable(std::string_view text);
