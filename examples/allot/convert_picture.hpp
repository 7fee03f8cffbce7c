// SPDX-License-Identifier: MIT
/// \file
/// Pictures in other formats, by a program that is installed.
#pragma once

#include <string>

/// What turns an SVG file into a PNG file here.
struct PictureConverter {
  std::string name;     // rsvg-convert, magick, convert, inkscape, or a Chromium
  std::string program;  // where it is
};

/// Returns the first of the converters that are known that `PATH` has.
/// Throws: `std::runtime_error` if there is none, with what to install.
[[nodiscard]] PictureConverter find_picture_converter();

/// Returns the bytes of a PNG file. Throws: `std::runtime_error` if the converter makes none;
/// `std::system_error`.
[[nodiscard]] std::string png_of(const std::string& svg, const PictureConverter& converter);
