// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "output.hpp"

namespace {

namespace loading = allot::load;

std::string check_margin(const std::string& text) {
  if (text == "usual" || text == "none") return "";
  const bool is_percentage =
      text.size() >= 2 && text.size() <= 5 && text.back() == '%' &&
      std::all_of(text.begin(), text.end() - 1, [](char c) { return c >= '0' && c <= '9'; });
  return is_percentage ? "" : "use usual, none, or a percentage such as 20%";
}

/// `host`, `staged-host`, `hip`, `hip:N`, or several of the last separated by commas.
std::string check_device(const std::string& text) {
  if (text == "host" || text == "staged-host" || text == "hip") return "";
  std::string rest = text + ",";
  std::set<std::string> seen;
  for (std::size_t comma = 0; (comma = rest.find(',')) != std::string::npos;) {
    const std::string name = rest.substr(0, comma);
    rest.erase(0, comma + 1);
    const bool is_numbered =
        name.size() > 4 && name.size() < 10 && name.starts_with("hip:") &&
        std::all_of(name.begin() + 4, name.end(), [](char c) { return c >= '0' && c <= '9'; });
    const bool has_leading_zero = is_numbered && name.size() > 5 && name[4] == '0';
    if (!is_numbered || has_leading_zero) return "use host, staged-host, hip or hip:N, not " + name;
    if (!seen.insert(name).second) return "device " + name + " is named twice";
  }
  return "";
}

std::string check_alignment(const std::string& text) {
  try {
    with_alignment(std::stoull(text), []<class Policy>() {});
    return "";
  } catch (const std::exception&) {
    return std::string{"use "} + alignments_text;
  }
}

/// `f16`, or `PATTERN=f16`.
loading::DequantizeRule dequantize_rule(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  loading::DequantizeRule rule;
  if (equals != std::string::npos) rule.names = text.substr(0, equals);
  const std::string type = equals == std::string::npos ? text : text.substr(equals + 1);
  if (type == "f32") {
    rule.to = allot::gguf::TensorType::F32;
  } else if (type == "bf16") {
    rule.to = allot::gguf::TensorType::BF16;
  } else if (type != "f16") {
    throw CLI::ValidationError{"--dequantize",
                               "use f32, f16 or bf16, as in blk.*=f16, not " + type};
  }
  return rule;
}

/// `last-row`, `every-row`, or either with `:ELEMENTS`.
loading::RowPadding row_padding(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string where = text.substr(0, colon);
  loading::RowPadding padding;
  padding.where = where == "last-row"    ? loading::Padding::last_row
                  : where == "every-row" ? loading::Padding::every_row
                                         : loading::Padding::none;
  if (colon != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, padding.multiple);
    if (error != std::errc{} || stop != end) padding.where = loading::Padding::none;
  }
  if (padding.where == loading::Padding::none) {
    throw CLI::ValidationError{"--pad",
                               "use last-row or every-row, or with a number of elements as in "
                               "every-row:512, not " +
                                   text};
  }
  return padding;
}

void add_transform_options(CLI::App& command, loading::TransformOptions& options) {
  const auto form = "In what form";
  command
      .add_option_function<std::vector<std::string>>(
          "--dequantize",
          [&options](const std::vector<std::string>& texts) {
            for (const std::string& text : texts)
              options.dequantize.push_back(dequantize_rule(text));
          },
          "Store quantized tensors as f32, f16 or bf16; only some, as in 'blk.*.ffn_*=f16'; the "
          "first pattern that matches applies")
      ->type_name("[NAMES=]TYPE")
      ->take_all()
      ->group(form);
  command
      .add_option_function<std::vector<std::string>>(
          "--fuse",
          [&options](const std::vector<std::string>& kinds) {
            for (const std::string& kind : kinds)
              (kind == "qkv" ? options.fuse.qkv : options.fuse.gate_up) = true;
          },
          "Join Q, K, V (gate, up) of a layer into one tensor if their types agree: qkv, gate-up, "
          "or both, separated by a comma")
      ->delimiter(',')
      ->check(CLI::IsMember({"qkv", "gate-up"}))
      ->type_name("WHAT")
      ->group(form);
  command
      .add_option("--transpose", options.transpose,
                  "Transpose tensors with these names, as in 'output.*'; quantized ones only if "
                  "they are dequantized too")
      ->type_name("NAMES")
      ->group(form);
  command
      .add_option_function<std::string>(
          "--pad", [&options](const std::string& text) { options.padding = row_padding(text); },
          "Add zeros after the last row, or after every row, up to a multiple of ELEMENTS (512)")
      ->type_name("last-row|every-row[:ELEMENTS]")
      ->group(form);
}

/// The options that `plan` and `load` share.
void add_memory_options(CLI::App& command, MemoryOptions& options) {
  command.add_option("FILE", options.file, "A GGUF file, or any shard of a split one")->required();
  command.add_flag("--json", options.json, "Print one JSON object and nothing else");

  const auto where = "Where";
  command
      .add_option("--device", options.device,
                  "Where the memory is: host, hip, hip:N, several as in hip:0,hip:1 (layers are "
                  "divided by free memory), or staged-host (the host as if it were a GPU)")
      ->check(CLI::Validator{check_device, "DEVICE"})
      ->capture_default_str()
      ->group(where);
  command.add_option("--alignment", options.alignment, "Bytes that every tensor is aligned to")
      ->check(CLI::Validator{check_alignment, "BYTES"})
      ->capture_default_str()
      ->group(where);
  command
      .add_option("--placement", options.placement,
                  "one: a single allocation on each device; chunks: several of --chunk; selective: "
                  "a separate allocation for each large, transposed and QKV matrix")
      ->check(CLI::IsMember({"one", "chunks", "selective"}))
      ->capture_default_str()
      ->group(where);
  command.add_option("--chunk", options.chunk_bytes, "The largest chunk in bytes, as in 1GiB")
      ->transform(CLI::AsSizeValue(false))
      ->group(where);

  const auto amount = "How much";
  command
      .add_option("--margin", options.margin,
                  "Memory to keep free: usual (the larger of 10 % and 100 MiB), none, or N%")
      ->check(CLI::Validator{check_margin, "MARGIN"})
      ->capture_default_str()
      ->group(amount);
  command
      .add_option("--context", options.context,
                  "Also reserve a KV cache for this many tokens, sized by the model's metadata")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 32))
      ->group(amount);
  command.add_option("--cache-type", options.cache_type, "The type of the cache's elements")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0", "q4_0"}))
      ->capture_default_str()
      ->group(amount);
  command
      .add_option("--scratch", options.scratch_bytes,
                  "Also reserve this much working memory on each device, as in 256MiB")
      ->transform(CLI::AsSizeValue(false))
      ->group(amount);
  add_transform_options(command, options.transforms);
}

void add_rewrite_options(CLI::App& command, RewriteOptions& options) {
  command.add_flag("--force", options.force, "Replace files that exist already");
  command.add_flag("--json", options.json, "Print one JSON object and nothing else");
}

/// The options of `load` for memory that is not the host's.
void add_pipeline_options(CLI::App& command, loading::LoadOptions& options) {
  const auto how = "How (if the memory is not the host's)";
  command.add_option("--slot", options.slot_bytes, "Bytes of a staging slot")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str()
      ->group(how);
  command
      .add_option("--slots", options.slots,
                  "Number of staging slots: with --slot, all the memory that loading takes")
      ->capture_default_str()
      ->group(how);
  command.add_option("--streams", options.streams, "Streams for each device")
      ->capture_default_str()
      ->group(how);
  command
      .add_option(
          "--stream-choice", options.stream_choice,
          "Which stream gets the next copy: in turn, or the one with the fewest bytes waiting")
      ->transform(CLI::CheckedTransformer(std::map<std::string, allot::load::StreamChoice>{
          {"round-robin", allot::load::StreamChoice::round_robin},
          {"least-outstanding", allot::load::StreamChoice::least_outstanding}}))
      ->group(how);
  command
      .add_option("--readers", options.readers,
                  "Number of reader threads; 0: one for each processor")
      ->capture_default_str()
      ->check(CLI::Range(0, 256))
      ->group(how);
  command.add_flag("--direct", options.direct_io, "Read past the page cache, if possible")
      ->group(how);
}

}  // namespace

void add_inspect_options(CLI::App& command, InspectOptions& options) {
  command.add_option("FILE", options.file, "A GGUF file, or any shard of a split one")->required();
  command.add_flag("--tensors", options.tensors, "List every tensor");
  command.add_flag("--kv", options.metadata, "List the metadata; long arrays are shortened");
  command.add_flag("--json", options.json, "Print one JSON object and nothing else");
}

void add_plan_options(CLI::App& command, MemoryOptions& options) {
  add_memory_options(command, options);
  command.add_flag("--fit", options.fit, "Find the largest context that fits")
      ->excludes("--context")
      ->group("How much");
  command
      .add_option("--memory", options.memory,
                  "Free bytes on each device, instead of asking the device, as in 24GiB,16GiB")
      ->delimiter(',')
      ->transform(CLI::AsSizeValue(false))
      ->group("Where");
}

void add_load_options(CLI::App& command, MemoryOptions& options) {
  add_memory_options(command, options);
  command.add_flag("--verify", options.verify,
                   "Read every tensor back and compare each byte with the file");
  add_pipeline_options(command, options.load);
}

void add_split_options(CLI::App& command, RewriteOptions& options) {
  command.add_option("FILE", options.file, "A GGUF file, or any shard of a split one")->required();
  command
      .add_option("PREFIX", options.out,
                  "What the file names begin with: PREFIX-00001-of-00003.gguf")
      ->required();
  command
      .add_option(
          "--max-size", options.max_bytes,
          "The most bytes of tensor data in a file, as in 2G (2e9) or 2GiB; a larger tensor "
          "gets its own file")
      ->transform(CLI::AsSizeValue(true))
      ->check(CLI::PositiveNumber);
  command.add_option("--max-tensors", options.max_tensors, "The most tensors in a file")
      ->check(CLI::PositiveNumber);
  command.add_flag("--no-tensor-first-split", options.no_tensor_first_split,
                   "The first file holds only the metadata");
  add_rewrite_options(command, options);
}

void add_merge_options(CLI::App& command, RewriteOptions& options) {
  command.add_option("FILE", options.file, "Any shard of the model")->required();
  command.add_option("OUT", options.out, "The file to write")->required();
  add_rewrite_options(command, options);
}
