// SPDX-License-Identifier: MIT
// What the tool reads besides models. A CSV file of lifetimes is read or refused with a line's
// number; what is read is planned, or refused by name, with no two live buffers at one place; and what
// is written is read again. A trace, of any format, is read or refused; what is read adds up. A log of requests
// is read or refused; a dump becomes a picture whose blocks lie in their memory, or is refused.
#define FMT_HEADER_ONLY
#include "../../examples/allot/byte_stream.cpp"
#include "../../examples/allot/dump_files.cpp"
#include "../../examples/allot/lifetimes_csv.cpp"
#include "../../examples/allot/numbers.cpp"
#include "../../examples/allot/pickle_reader.cpp"
#include "../../examples/allot/picture.cpp"
#include "../../examples/allot/request_log.cpp"
#include "../../examples/allot/text_files.cpp"
#include "../../examples/allot/trace_files.cpp"

#include <allot/offsets/plan_offsets.hpp>
#include <allot/report/recorded_places.hpp>

#include <cstddef>
#include <cstdint>

#include "input.hpp"

std::string printable(std::string_view text) { return std::string{text}; }
std::string xml_text(std::string_view text) { return std::string{text}; }

namespace {

using allot::fuzz::require;

bool may_share(const std::vector<allot::Lifetime>& all, std::size_t a, std::size_t b) {
  const auto replaces = [&](std::size_t after, std::size_t before) {
    return all[after].may_replace == before && all[before].last == all[after].first &&
           all[after].bytes <= all[before].bytes;
  };
  return replaces(a, b) || replaces(b, a);
}

void check(const std::vector<allot::Lifetime>& all, const allot::OffsetPlan& plan) {
  require(plan.offsets.size() == all.size(), "each buffer has a place");
  require(plan.bytes >= plan.lower_bound, "no plan is below the lower bound");
  for (std::size_t i = 0; i < all.size(); ++i) {
    require(plan.offsets[i] % all[i].alignment == 0, "a place is aligned");
    require(!all[i].fixed_offset || all[i].bytes == 0 || plan.offsets[i] == *all[i].fixed_offset,
            "a fixed place is kept");
    for (std::size_t k = 0; k < i; ++k) {
      const bool are_alive = all[i].first <= all[k].last && all[k].first <= all[i].last;
      if (all[i].bytes == 0 || all[k].bytes == 0 || !are_alive) continue;
      const bool are_apart = all[i].bytes <= plan.offsets[k] - plan.offsets[i] ||
                             all[k].bytes <= plan.offsets[i] - plan.offsets[k];
      const bool overlap = plan.offsets[i] < plan.offsets[k] + all[k].bytes &&
                           plan.offsets[k] < plan.offsets[i] + all[i].bytes;
      require(!overlap || are_apart || (plan.offsets[i] == plan.offsets[k] && may_share(all, i, k)),
              "two that are alive together do not overlap");
    }
  }
}

void check_trace(std::string_view text) {
  allot::report::AllocationTrace trace;
  try {
    trace = parse_trace(ByteStream::of_text(text), "input");
  } catch (const std::runtime_error& error) {
    require(std::string_view{error.what()}.starts_with("input:"), "an error has a place");
    return;
  } catch (const std::length_error&) {
    return;
  }
  if (trace.knows_addresses) {
    const auto placed = allot::report::recorded_places<>(trace);
    if (placed) {
      for (const auto& block : placed->blocks) {
        require(block.offset <= placed->capacity && block.size <= placed->capacity - block.offset,
                "a recorded block lies in the memory");
      }
    }
  }
  const auto facts = allot::report::facts_of<>(trace);
  require(facts.allocations == trace.blocks.size(), "each block is allocated once");
  require(facts.allocations == facts.frees + facts.live_at_end, "each is freed at most once");
}

/// What is read of an allot-trace 2 says the same after bytes and after text.
void check_forms(std::string_view text) {
  using namespace allot::report;
  std::string bytes;
  std::string lines{std::string{trace_text_mark} + "\n"};
  TraceEncoder encoder;
  std::byte one[TraceEncoder::most_bytes];
  try {
    read_trace_records(ByteStream::of_text(text), "input", [&](const TraceRecord& record) {
      bytes.append(reinterpret_cast<const char*>(one), encoder.encode(record, one));
      lines += to_text(record) + "\n";
    });
  } catch (const std::runtime_error&) {
    return;
  }
  if (bytes.empty()) return;  // cut off in its first record
  std::string again;
  read_trace_records(ByteStream::of_text(bytes), "bytes",
                     [&](const TraceRecord& record) { again += to_text(record) + "\n"; });
  require(lines.ends_with(again), "bytes say what was read");
}

void check_requests(std::string_view text) {
  require(is_request_log(text) || !text.starts_with("TIMESTAMP,ContextTokens,GeneratedTokens"),
          "a log is known by its beginning");
  for (const bool with_tokens : {false, true}) {
    try {
      const RequestLog log = read_request_log(ByteStream::of_text(text), "input", with_tokens);
      for (std::size_t i = 1; i < log.requests.size(); ++i)
        require(log.requests[i - 1].arrival <= log.requests[i].arrival, "in the order of arrival");
      require(!log.requests.empty() || !log.prompts.blocks().empty(), "no log is empty");
    } catch (const std::runtime_error& error) {
      require(std::string_view{error.what()}.starts_with("input:"), "an error has a place");
    }
  }
}

void check_picture(const Picture& picture) {
  for (const Picture::Lane& lane : picture.lanes) {
    require(lane.bytes != 0, "a lane has memory");
    for (const Picture::Block& block : lane.blocks) {
      require(block.offset <= lane.bytes && block.size <= lane.bytes - block.offset,
              "a block lies in its memory");
      require(block.kind < picture.kinds.size() && block.name < picture.names.size(),
              "a block has a kind and a name");
    }
  }
  require(page_of(picture).ends_with("</html>\n"), "a page is whole");
  require(svg_of(picture).ends_with("</svg>\n"), "a picture is whole");
}

void check_dump(std::string_view text) {
  for (const auto read : {picture_of_dump, picture_of_vma}) {
    try {
      check_picture(read(ByteStream::of_text(text), "input"));
    } catch (const std::runtime_error& error) {
      require(std::string_view{error.what()}.starts_with("input:"), "an error has a place");
    }
  }
}

void check_lifetimes_file(std::string_view text) {
  NamedLifetimes buffers;
  try {
    buffers = parse_lifetimes(text, "input");
  } catch (const std::runtime_error& error) {
    require(std::string_view{error.what()}.starts_with("input:"), "an error has a line");
    return;
  }
  allot::OffsetPlan plan;
  try {
    plan = allot::plan_offsets(buffers.lifetimes, {.work = 20'000});
  } catch (const std::invalid_argument&) {
    return;
  }
  check(buffers.lifetimes, plan);
  const std::string written = offsets_csv(buffers, plan);
  const NamedLifetimes again = parse_lifetimes(written, "written");
  require(again.ids == buffers.ids, "what is written is read again");
  static_cast<void>(allot::fit_offsets(buffers.lifetimes, plan.lower_bound, {.work = 20'000}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  check_trace(text);
  check_forms(text);
  check_lifetimes_file(text);
  check_requests(text);
  check_dump(text);
  return 0;
}
