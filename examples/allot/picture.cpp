// SPDX-License-Identifier: MIT
#include "picture.hpp"

#include <allot/core/readable_bytes.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

#include "picture_page.hpp"
#include "printable.hpp"

namespace {

/// The area that a block takes on the picture.
double area_of(const Picture& picture, const Picture::Block& block) {
  const double time = picture.events == 0 ? 1 : static_cast<double>(block.to - block.from + 1);
  return static_cast<double>(block.size) * time;
}

std::string figure_text(const Picture::Figure& figure) {
  return figure.is_bytes ? allot::ReadableBytes{figure.number}.c_str()
                         : std::to_string(figure.number);
}

nlohmann::json data_of(const Picture& picture) {
  nlohmann::json lanes = nlohmann::json::array();
  for (const Picture::Lane& lane : picture.lanes) {
    nlohmann::json blocks = nlohmann::json::array();
    for (const Picture::Block& block : lane.blocks)
      blocks.push_back({block.offset, block.size, block.kind, block.name, block.from, block.to});
    lanes.push_back(
        {{"name", printable(lane.name)}, {"bytes", lane.bytes}, {"blocks", std::move(blocks)}});
  }
  nlohmann::json moments = nlohmann::json::array();
  for (const Picture::Moment& moment : picture.moments) {
    moments.push_back(
        {moment.event, moment.live, static_cast<int>(moment.fragmentation * 1000 + 0.5)});
  }
  nlohmann::json names = nlohmann::json::array();
  for (const std::string& name : picture.names) names.push_back(printable(name));
  return {{"kind", picture.kind},      {"kinds", picture.kinds},   {"names", std::move(names)},
          {"lanes", std::move(lanes)}, {"events", picture.events}, {"moments", std::move(moments)}};
}

/// In a script element, `</script>` and `<!--` would end or change it.
std::string as_script_data(const nlohmann::json& json) {
  std::string safe;
  for (const char c : json.dump()) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

constexpr const char* block_colors[] = {"#4878cf", "#d65f5f", "#59a55c", "#b47cc7",
                                        "#c4a000", "#3fa7b5", "#8c613c", "#888888"};

}  // namespace

void leave_out_small(Picture& picture, std::size_t most) {
  std::vector<double> areas;
  for (const Picture::Lane& lane : picture.lanes)
    for (const Picture::Block& block : lane.blocks) areas.push_back(area_of(picture, block));
  if (areas.size() <= most) return;
  const auto border = areas.begin() + static_cast<std::ptrdiff_t>(most);
  std::nth_element(areas.begin(), border, areas.end(), std::greater<>{});
  const double least = *border;
  for (Picture::Lane& lane : picture.lanes) {
    std::erase_if(lane.blocks, [&](const Picture::Block& block) {
      if (area_of(picture, block) > least) return false;
      ++picture.left_out;
      picture.left_out_bytes += block.size;
      return true;
    });
  }
}

std::string page_of(const Picture& picture) {
  std::string page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n<style>{1}</style>"
      "</head>\n<body><h1>{0}</h1>\n<table id=\"figures\">\n",
      xml_text(picture.title), page_style);
  for (const Picture::Figure& figure : picture.figures) {
    page += fmt::format("<tr data-key=\"{}\" data-number=\"{}\"><th>{}</th><td>{}</td></tr>\n",
                        figure.key, figure.number, xml_text(figure.label), figure_text(figure));
  }
  page += "</table>\n";
  if (picture.left_out != 0) {
    page += fmt::format("<p>The {} smallest blocks, of together {}, are not drawn.</p>\n",
                        picture.left_out, allot::ReadableBytes{picture.left_out_bytes}.c_str());
  }
  page += "<p id=\"legend\">";
  for (std::size_t i = 0; i < picture.kinds.size(); ++i) {
    page += fmt::format("<span class=\"kind\"><i style=\"background:{}\"></i>{}</span> ",
                        block_colors[i % std::size(block_colors)], xml_text(picture.kinds[i]));
  }
  page +=
      "</p>\n<p class=\"tools\"><label>Search <input id=\"search\" type=\"search\" "
      "autocomplete=\"off\"></label> <span id=\"found\"></span></p>\n"
      "<div id=\"views\"></div>\n<p id=\"at\" role=\"status\"></p>\n"
      "<p class=\"tools\">Wheel, pinch or + and - zoom; drag or the arrow keys move; 0 shows "
      "all.</p>\n";
  if (!picture.peaks.empty()) {
    page +=
        "<h2>The tallest moments</h2>\n<table id=\"peaks\"><tr><th>event</th><th>live</th>"
        "</tr>\n";
    for (const Picture::Moment& peak : picture.peaks) {
      page += fmt::format("<tr><td><button data-event=\"{0}\">{0}</button></td><td>{1}</td></tr>\n",
                          peak.event, allot::ReadableBytes{peak.live}.c_str());
    }
    page += "</table>\n";
  }
  page += "<h2>The largest blocks</h2>\n<table id=\"largest\"></table>\n";
  page += "<script type=\"application/json\" id=\"data\">" + as_script_data(data_of(picture)) +
          "</script>\n<script>" + page_script + "</script>\n</body></html>\n";
  return page;
}

std::string perfetto_of(const Picture& picture) {
  const auto quoted = [](const std::string& text) {
    return nlohmann::json(printable(text)).dump();
  };
  std::string events =
      "{\"traceEvents\":[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{\"name\":" +
      quoted(picture.title) + "}}";
  for (const Picture::Moment& moment : picture.moments) {
    events += fmt::format(
        ",\n{{\"name\":\"live "
        "bytes\",\"ph\":\"C\",\"pid\":1,\"ts\":{0},\"args\":{{\"bytes\":{1}}}}},\n"
        "{{\"name\":\"fragmentation\",\"ph\":\"C\",\"pid\":1,\"ts\":{0},\"args\":{{\"percent\":{2:."
        "1f}}}}}",
        moment.event, moment.live, 100 * moment.fragmentation);
  }
  std::uint64_t number = 0;
  for (const Picture::Block& block : picture.lanes[0].blocks) {
    const std::string& name = picture.names[block.name];
    events += fmt::format(
        ",\n{{\"name\":{0},\"cat\":\"block\",\"ph\":\"b\",\"id\":{1},\"pid\":1,\"tid\":1,\"ts\":{2}"
        ",\"args\":{{"
        "\"bytes\":{3},\"offset\":{4}}}}},\n{{\"name\":{0},\"cat\":\"block\",\"ph\":\"e\",\"id\":{"
        "1},\"pid\":1,"
        "\"tid\":1,\"ts\":{5}}}",
        quoted(name.empty() ? allot::ReadableBytes{block.size}.c_str() : name), ++number,
        block.from, block.size, block.offset, block.to);
  }
  return events + "\n]}\n";
}

std::string svg_of(const Picture& picture) {
  constexpr double width = 1200;
  constexpr double left = 10;
  constexpr std::size_t most = 20'000;
  Picture drawn = picture;
  leave_out_small(drawn, most);
  const bool has_time = drawn.events != 0;
  const double height = has_time ? 480 : 60;
  const double span = width - 2 * left;
  double top = 50;
  std::string body;
  for (const Picture::Lane& lane : drawn.lanes) {
    body += fmt::format(
        "<text x=\"{}\" y=\"{}\">{}: {}</text>\n<rect x=\"{}\" y=\"{}\" width=\"{}\" "
        "height=\"{}\" fill=\"none\" stroke=\"#888\"/>\n",
        left, top + 12, xml_text(lane.name), allot::ReadableBytes{lane.bytes}.c_str(), left,
        top + 20, span, height);
    for (const Picture::Block& block : lane.blocks) {
      const double at = static_cast<double>(block.offset) / static_cast<double>(lane.bytes);
      const double size = static_cast<double>(block.size) / static_cast<double>(lane.bytes);
      const double from =
          has_time ? static_cast<double>(block.from) / static_cast<double>(drawn.events) : at;
      const double time =
          has_time ? static_cast<double>(block.to - block.from) / static_cast<double>(drawn.events)
                   : size;
      body += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" "
          "fill=\"{}\"><title>{} {}</title></rect>\n",
          left + from * span, top + 20 + (has_time ? (1 - at - size) * height : 0),
          std::max(time * span, 0.05), has_time ? std::max(size * height, 0.05) : height,
          block_colors[block.kind % std::size(block_colors)], xml_text(drawn.names[block.name]),
          allot::ReadableBytes{block.size}.c_str());
    }
    top += height + 40;
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0} {1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
      "<text x=\"{2}\" y=\"24\" font-size=\"16\">{3}</text>\n{4}</svg>\n",
      width, top, left, xml_text(picture.title), body);
}
