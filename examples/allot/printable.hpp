// SPDX-License-Identifier: MIT
/// \file
/// Text from outside, made safe to print.
#pragma once

#include <string>
#include <string_view>

/// Returns the text with control characters and bytes that are not UTF-8 replaced: safe to print.
std::string printable(std::string_view text);

/// Returns the same for the text of an XML or HTML element, or of an attribute in quotes.
std::string xml_text(std::string_view text);
