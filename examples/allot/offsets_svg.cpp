// SPDX-License-Identifier: MIT
#include "offsets_svg.hpp"

#include <allot/core/readable_bytes.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "output.hpp"

namespace {

constexpr double width = 1200;
constexpr double height = 640;
constexpr double left = 90;
constexpr double top = 50;
constexpr double bottom = 40;

/// Bytes alive from each step on at which that changes.
std::vector<std::pair<std::uint64_t, std::uint64_t>> alive_over_time(
    const std::vector<allot::Lifetime>& lifetimes) {
  std::vector<std::pair<std::uint64_t, std::int64_t>> changes;
  for (const allot::Lifetime& each : lifetimes) {
    changes.emplace_back(each.first, static_cast<std::int64_t>(each.bytes));
    if (each.last + 1 != 0)
      changes.emplace_back(each.last + 1, -static_cast<std::int64_t>(each.bytes));
  }
  std::sort(changes.begin(), changes.end());
  std::vector<std::pair<std::uint64_t, std::uint64_t>> alive;
  std::uint64_t bytes = 0;
  for (const auto& [step, change] : changes) {
    bytes += static_cast<std::uint64_t>(change);
    if (!alive.empty() && alive.back().first == step) {
      alive.back().second = bytes;
    } else {
      alive.emplace_back(step, bytes);
    }
  }
  return alive;
}

}  // namespace

std::string offsets_svg(const NamedLifetimes& buffers, const allot::OffsetPlan& plan,
                        const std::string& title) {
  const auto& all = buffers.lifetimes;
  std::uint64_t first = 0;
  std::uint64_t last = 1;
  if (!all.empty()) {
    first = std::min_element(all.begin(), all.end(), [](const auto& a, const auto& b) {
              return a.first < b.first;
            })->first;
    last = std::max_element(all.begin(), all.end(), [](const auto& a, const auto& b) {
             return a.last < b.last;
           })->last;
  }
  const double steps = static_cast<double>(last - first) + 1;
  const double most =
      static_cast<double>(std::max<std::uint64_t>({plan.bytes, plan.lower_bound, 1}));
  const auto x = [&](double step) {
    return left + (step - static_cast<double>(first)) / steps * (width - left - 20);
  };
  const auto y = [&](double bytes) {
    return height - bottom - bytes / most * (height - top - bottom);
  };

  std::vector<std::uint64_t> bases(std::max<std::size_t>(plan.memory_bytes.size(), 1));
  for (std::size_t m = 1; m < bases.size(); ++m) bases[m] = bases[m - 1] + plan.memory_bytes[m - 1];

  std::string svg;
  auto out = std::back_inserter(svg);
  fmt::format_to(out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" "
                 "font-family=\"sans-serif\" font-size=\"12\">\n"
                 "<style>rect.b{{stroke:#333;stroke-width:.4}}rect.b:hover{{stroke-width:2}}"
                 ".fixed{{stroke-dasharray:4 2}}</style>\n"
                 "<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n",
                 width, height);
  fmt::format_to(out, "<text x=\"{}\" y=\"20\" font-size=\"15\">{}</text>\n", left,
                 xml_text(title));
  fmt::format_to(out,
                 "<text x=\"{}\" y=\"38\" fill=\"#555\">{} buffers, {} ({} bytes), lower bound {} "
                 "bytes</text>\n",
                 left, all.size(), allot::ReadableBytes{plan.bytes}.c_str(), plan.bytes,
                 plan.lower_bound);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const allot::Lifetime& each = all[i];
    if (each.bytes == 0) continue;
    const std::size_t memory = plan.memories.empty() ? 0 : plan.memories[i];
    const double low = static_cast<double>(bases[memory] + plan.offsets[i]);
    const double begin = static_cast<double>(each.first);
    const double end = static_cast<double>(each.last) + 1;
    const double y_top = y(low + static_cast<double>(each.bytes));
    fmt::format_to(
        out,
        "<rect class=\"b{}\" x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" "
        "fill=\"hsl({},55%,{}%)\"><title>{}: {} bytes at {}, steps {} to {}{}</title></rect>\n",
        each.fixed_offset ? " fixed" : "", x(begin), y_top, x(end) - x(begin), y(low) - y_top,
        (i * 137) % 360, 62 + i % 4 * 6, xml_text(buffers.ids[i]), each.bytes, plan.offsets[i],
        each.first, each.last,
        bases.size() > 1 ? fmt::format(", memory {}", memory) : std::string{});
  }
  std::string path;
  double before = y(0);
  for (const auto& [step, bytes] : alive_over_time(all)) {
    const double at = x(static_cast<double>(step));
    const double to = y(static_cast<double>(bytes));
    path +=
        fmt::format("{}{:.2f},{:.2f} {:.2f},{:.2f} ", path.empty() ? "" : "", at, before, at, to);
    before = to;
  }
  fmt::format_to(out,
                 "<polyline points=\"{}\" fill=\"none\" stroke=\"#000\" "
                 "stroke-width=\"1.5\"><title>bytes alive</title></polyline>\n",
                 path);
  const auto level = [&](std::uint64_t bytes, const char* name, const char* style) {
    const double at = y(static_cast<double>(bytes));
    fmt::format_to(out,
                   "<line x1=\"{}\" x2=\"{}\" y1=\"{:.2f}\" y2=\"{:.2f}\" stroke=\"#c00\" {}>"
                   "<title>{}: {} bytes</title></line>\n",
                   left, width - 20, at, at, style, name, bytes);
  };
  level(plan.lower_bound, "lower bound", "stroke-dasharray=\"6 4\"");
  for (std::size_t m = 1; m < bases.size(); ++m)
    level(bases[m], "memory begins", "stroke-width=\"2\"");
  for (int i = 0; i <= 4; ++i) {
    const double bytes = most * i / 4;
    fmt::format_to(out, "<text x=\"{}\" y=\"{:.2f}\" text-anchor=\"end\">{}</text>\n", left - 6,
                   y(bytes) + 4, allot::ReadableBytes{static_cast<std::uint64_t>(bytes)}.c_str());
  }
  fmt::format_to(out, "<text x=\"{}\" y=\"{}\">step {}</text>\n", left, height - 14, first);
  fmt::format_to(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">step {}</text>\n</svg>\n",
                 width - 20, height - 14, last);
  return svg;
}
