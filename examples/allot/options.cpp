// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <allot/core/readable_bytes.hpp>
#include <allot/core/units.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <bit>
#include <exception>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cache_choice.hpp"
#include "device_names.hpp"
#include "numbers.hpp"
#include "option_values.hpp"
#include "output.hpp"
#include "placing.hpp"
#include "planning.hpp"

namespace {

namespace loading = allot::load;

std::string check_margin(const std::string& text) {
  if (text == "usual" || text == "none") return "";
  const bool is_percentage =
      text.size() >= 2 && text.size() <= 5 && text.back() == '%' &&
      std::all_of(text.begin(), text.end() - 1, [](char c) { return c >= '0' && c <= '9'; });
  return is_percentage ? "" : "use usual, none, or a percentage such as 20%";
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
  if (colon != std::string::npos) padding.multiple = read_number(text.substr(colon + 1), 1);
  if (padding.where == loading::Padding::none) {
    throw std::invalid_argument{
        "use last-row or every-row, or with a number of elements as in every-row:512, not " + text};
  }
  return padding;
}

/// `pipeline:2,tensor:4`, or one of them; `move-to-blocks` besides.
loading::Shares shares_of(const std::string& text) {
  loading::Shares shares;
  std::size_t from = 0;
  while (from <= text.size()) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    const std::string word = text.substr(from, end - from);
    const std::size_t colon = word.find(':');
    const std::string kind = word.substr(0, colon);
    if (word == "move-to-blocks") {
      shares.move_to_blocks = true;
    } else if (colon != std::string::npos && (kind == "pipeline" || kind == "tensor")) {
      (kind == "tensor" ? shares.tensor : shares.pipeline) =
          static_cast<std::uint32_t>(read_number(word.substr(colon + 1), 1, 65'536));
    } else {
      throw std::invalid_argument{
          "use pipeline:N, tensor:N or both, as in pipeline:2,tensor:4, and move-to-blocks, not " +
          text};
    }
    from = end + 1;
  }
  return shares;
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
      ->allow_extra_args(false)
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
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"qkv", "gate-up"}))
      ->type_name("WHAT")
      ->group(form);
  command
      .add_option("--transpose", options.transpose,
                  "Transpose tensors with these names, as in 'output.*'; quantized ones only if "
                  "they are dequantized too")
      ->allow_extra_args(false)
      ->type_name("NAMES")
      ->group(form);
  add_value(command, "--pad", "last-row|every-row[:ELEMENTS]",
            "Add zeros after the last row, or after every row, up to a multiple of ELEMENTS (512)",
            [&options](const std::string& text) { options.padding = row_padding(text); })
      ->group(form);
}

/// Throws: `CLI::ValidationError` for options that do not go together.
void check_memory_options(const MemoryOptions& options) {
  check_placing(options.placing, options.device);
  if (options.fit() && options.context != 0 && !is_beside_host(options)) {
    throw CLI::ValidationError{
        "--fit looks for the context that --context gives; use one of them, or add host to "
        "--device for experts to move to"};
  }
  if (options.shares.count() != 1 &&
      (options.fit() || !options.placing.draft.empty() || !options.placing.emit.empty())) {
    throw CLI::ValidationError{
        "--shares plans a given context, and no draft model: leave out --fit, --draft and "
        "--emit"};
  }
  const std::size_t devices = read_devices(options.device).size();
  if (!options.memory.empty() && options.memory.size() != devices) {
    throw CLI::ValidationError{"--memory names " + std::to_string(options.memory.size()) +
                               " sizes for " + std::to_string(devices) +
                               " devices; give one for each, as in --memory 24GiB,16GiB"};
  }
  if (options.placement == "chunks" && options.chunk_bytes == 0)
    throw CLI::ValidationError{"--placement chunks needs --chunk, as in --chunk 1GiB"};
}

/// The options that `plan`, `load` and `map` share.
void add_memory_options(CLI::App& command, MemoryOptions& options) {
  command.add_option("FILE", options.file, "A GGUF file, or any shard of a split one")
      ->required()
      ->check(not_empty());
  command.add_flag("--json", options.json, "Print one JSON object and nothing else");

  const auto where = "Where";
  add_value(command, "--device", "DEVICE",
            "Where the memory is: host, hip, hip:N, several as in hip:0,hip:1 (layers are "
            "divided by free memory), hip,host (as many layers on the GPU as fit, the rest on "
            "the host), or staged-host (the host as if it were a GPU)",
            [&options](const std::string& value) {
              static_cast<void>(read_devices(value));
              options.device = value;
            })
      ->default_str(options.device)
      ->group(where);
  add_value(command, "--alignment", "N",
            std::string{"Bytes that every tensor is aligned to: "} + alignments_text,
            [&options](const std::string& text) {
              options.alignment = read_number(text);
              with_alignment(options.alignment, []<class Policy>() {});
            })
      ->default_str(std::to_string(options.alignment))
      ->group(where);
  add_choice(command, "--placement", options.placement, {"one", "chunks", "selective"},
             "one: a single allocation on each device; chunks: several of --chunk; selective: a "
             "separate allocation for each large, transposed and QKV matrix")
      ->default_str(options.placement)
      ->group(where);
  add_size(command, "--chunk", options.chunk_bytes, "The largest chunk, as in 1GiB")->group(where);

  const auto amount = "How much";
  command
      .add_option("--margin", options.margin,
                  "Memory to keep free: usual (the larger of 10 % and 100 MiB), none, or N%")
      ->check(CLI::Validator{check_margin, ""})
      ->type_name("usual|none|N%")
      ->capture_default_str()
      ->group(amount);
  add_number(command, "--context", options.context,
             "Also reserve a KV cache for this many tokens, sized by the model's metadata", 1,
             std::uint64_t{1} << 32)
      ->group(amount);
  command
      .add_flag(
          "--fit{trained}", options.fit_limit,
          "Find the largest context that fits, but no more than the model was made for; "
          "--fit=memory: the largest that there is room for. With the host beside others, move the "
          "experts there that cost the fewest bytes a token; --context N --fit keeps N")
      ->check(CLI::IsMember({"trained", "memory"}))
      ->group(amount);
  add_size(command, "--scratch", options.scratch_bytes,
           "Also reserve this much working memory on each device, as in 256MiB")
      ->group(amount);
  add_cache_options(command, options.cache);
  command
      .add_option("--only", options.only,
                  "Only tensors with names like this, as in 'blk.[0-7].*'; several with several "
                  "--only; the others stay in the file")
      ->type_name("NAMES")
      ->allow_extra_args(false)
      ->take_all()
      ->group("What");
  add_transform_options(command, options.transforms);
  add_placing_options(command, options.placing);
  command.callback([&options] { check_memory_options(options); });
}

void add_rewrite_options(CLI::App& command, RewriteOptions& options) {
  command.add_flag("--force", options.force, "Replace files that exist already");
  command.add_flag("--json", options.json, "Print one JSON object and nothing else");
}

/// The options of `load` for memory that is not the host's.
void add_pipeline_options(CLI::App& command, loading::LoadOptions& options) {
  const auto how = "How (if the memory is not the host's)";
  add_value(command, "--slot", "SIZE", "Bytes of a staging slot, 4KiB to 4GiB",
            [&options](const std::string& text) {
              options.slot_bytes = read_size(text);
              if (options.slot_bytes < 4 * allot::KiB || options.slot_bytes > 4 * allot::GiB)
                throw std::invalid_argument{"use 4KiB to 4GiB, not " + text};
            })
      ->default_str(allot::ReadableBytes{options.slot_bytes}.c_str())
      ->group(how);
  add_number(command, "--slots", options.slots,
             "Number of staging slots: with --slot, all the memory that loading takes", 1, 4096)
      ->default_str(std::to_string(options.slots))
      ->group(how);
  add_number(command, "--streams", options.streams, "Streams for each device", 1, 256)
      ->default_str(std::to_string(options.streams))
      ->group(how);
  add_value(command, "--stream-choice", "round-robin|least-outstanding",
            "Which stream gets the next copy: in turn, or the one with the fewest bytes waiting",
            [&options](const std::string& text) {
              if (text != "round-robin" && text != "least-outstanding")
                throw std::invalid_argument{"use round-robin or least-outstanding, not " + text};
              options.stream_choice = text == "round-robin"
                                          ? allot::load::StreamChoice::round_robin
                                          : allot::load::StreamChoice::least_outstanding;
            })
      ->default_str("round-robin")
      ->group(how);
  add_number(command, "--readers", options.readers,
             "Number of reader threads; 0: one for each processor", 0, 256)
      ->default_str(std::to_string(options.readers))
      ->group(how);
  command.add_flag("--direct", options.direct_io, "Read past the page cache, if possible")
      ->group(how);
}

}  // namespace

void add_inspect_options(CLI::App& command, InspectOptions& options) {
  command.add_option("FILE", options.file, "A GGUF file, or any shard of a split one")
      ->required()
      ->check(not_empty());
  command.add_flag("--tensors", options.tensors, "List every tensor");
  command.add_flag("--kv", options.metadata, "List the metadata; long arrays are shortened");
  add_choice(command, "--for", options.engine, {"llama.cpp"},
             "Note what this engine (v0.5.0) cannot read of the file");
  command.add_flag("--json", options.json, "Print one JSON object and nothing else");
}

/// \param rest  of its text
CLI::Option* add_shares_option(CLI::App& command, loading::Shares& shares,
                               const std::string& rest) {
  return add_value(
      command, "--shares", "pipeline:N,tensor:N",
      "Divide the model between ranks: stages of whole layers, parts of each matrix, or "
      "both; " +
          rest + " With move-to-blocks cuts within a quantized block move to the next",
      [&shares](const std::string& text) { shares = shares_of(text); });
}

void add_plan_options(CLI::App& command, MemoryOptions& options) {
  add_memory_options(command, options);
  add_emit_option(command, options.placing);
  add_shares_option(command, options.shares, "--device and --memory are for each rank.")
      ->group("Where");
  add_sizes(command, "--memory", options.memory,
            "Free memory of each device, instead of asking the device, as in 24GiB,16GiB")
      ->group("Where");
}

void add_load_options(CLI::App& command, MemoryOptions& options) {
  add_memory_options(command, options);
  command.add_flag("--verify", options.verify,
                   "Read every tensor back and compare each byte with the file");
  const auto ranks = "On several ranks (mpirun -n N allot load ...)";
  CLI::Option* const shares = add_shares_option(
      command, options.shares, "the ranks of a machine take the devices of --device in turn.");
  shares->group(ranks);
  command
      .add_flag("--read-once", options.read_once,
                "Each byte is read from storage by one rank, and sent to those that need it")
      ->needs(shares)
      ->group(ranks);
  add_pipeline_options(command, options.load);
}

void add_split_options(CLI::App& command, RewriteOptions& options) {
  command.add_option("FILE", options.file, "A GGUF file, or any shard of a split one")
      ->required()
      ->check(not_empty());
  command
      .add_option("PREFIX", options.out,
                  "What the file names begin with: PREFIX-00001-of-00003.gguf")
      ->required()
      ->check(not_empty());
  add_size(command, "--max-size", options.max_bytes,
           "The most bytes of tensor data in a file, as in 2GB or 2GiB; a larger tensor gets its "
           "own file");
  add_number(command, "--max-tensors", options.max_tensors, "The most tensors in a file", 1);
  command.add_flag("--no-tensor-first-split", options.no_tensor_first_split,
                   "The first file holds only the metadata");
  add_rewrite_options(command, options);
  command.callback([&options] {
    if (options.max_bytes == 0 && options.max_tensors == 0)
      throw CLI::ValidationError{"split needs --max-size, as in --max-size 2GB, or --max-tensors"};
  });
}

void add_merge_options(CLI::App& command, RewriteOptions& options) {
  command.add_option("FILE", options.file, "Any shard of the model")
      ->required()
      ->check(not_empty());
  command.add_option("OUT", options.out, "The file to write; - is standard output")
      ->required()
      ->check(not_empty());
  add_rewrite_options(command, options);
}

void add_completions_options(CLI::App& command, CompletionsOptions& options) {
  add_choice(command, "SHELL", options.shell, {"bash", "zsh", "fish"}, "The shell")->required();
}

void add_man_options(CLI::App&, ManOptions&) {}
void add_offsets_options(CLI::App& command, OffsetsOptions& options) {
  command
      .add_option("FILE", options.file,
                  "Buffers as CSV: id,lower,upper,size, alive in the steps [lower, upper); also "
                  "alignment, offset (a fixed place), may_replace, memories, stream")
      ->required()
      ->check(not_empty());
  add_sizes(
      command, "--capacity", options.capacities,
      "Check whether all fits in this many bytes, and if not, what to keep elsewhere; several for "
      "several memories, as in 1MiB,4MiB");
  add_number(command, "--work", options.work,
             "Steps of the search, about 5 ns each; 300000000 by default", 1);
  add_size(command, "--stream-wait", options.stream_wait_bytes,
           "How much more a plan may take to save one wait of a stream for another");
  command.add_option("--out", options.out, "Write the buffers with their offsets, as CSV")
      ->type_name("FILE");
  command.add_option("--svg", options.svg, "Write a picture: time to the right, bytes upwards")
      ->type_name("FILE");
  command.add_flag("--force", options.force, "Replace files that exist already");
  command.add_flag("--json", options.json, "Print one JSON object and nothing else");
}

void add_replay_options(CLI::App& command, ReplayCommandOptions& options) {
  command
      .add_option("TRACE", options.file,
                  "What a program allocated: an allot-trace, a PyTorch memory snapshot or its "
                  "events as CSV, RMM's log, Umpire's replay log; or requests to a language "
                  "model: Mooncake's or Azure's")
      ->required()
      ->check(not_empty());
  add_size(command, "--capacity", options.capacity, "Also count what is refused at this capacity");
  add_value(
      command, "--alignment", "SIZE",
      "Of every block, and the unit of the arenas; otherwise what the recorder's allocator has",
      [&options](const std::string& text) {
        options.alignment = read_size(text);
        if (!std::has_single_bit(options.alignment) || options.alignment > allot::GiB)
          throw std::invalid_argument{"use a power of two up to 1GiB, not " + text};
      });
  add_number(command, "--blocks", options.blocks,
             "Of a log of requests: how many blocks of prefixes the cache has", 1);
  add_number(command, "--waiting", options.waiting,
             "Of a log of requests: how many wait while one is served; 32 by default", 0);
  command
      .add_option("--model", options.model,
                  "Of a log of requests: replay them in a KV cache of this model's shape")
      ->type_name("FILE");
  command
      .add_option("--kv-shape", options.kv_shape,
                  "The same for 16-bit elements: layers, KV heads, elements of a key, of a value")
      ->type_name("N,N,N,N");
  add_number(command, "--token-ms", options.token_milliseconds,
             "From one token of a sequence to the next, in milliseconds; 30 by default", 1,
             1'000'000);
  command.add_option("--text", options.text, "Also write an allot-trace 2 as text")
      ->type_name("FILE");
  command.add_option("--binary", options.binary, "Also write an allot-trace 2 in its binary form")
      ->type_name("FILE");
  command.add_flag("--force", options.force, "Replace files that exist already");
  command.add_flag("--json", options.json, "Print one JSON object and nothing else");
}

void add_map_options(CLI::App& command, MapOptions& options) {
  add_memory_options(command, options);
  command.get_option("FILE")->description(
      "A trace as of `allot replay`, what report::dump or VulkanMemoryAllocator wrote, or a "
      "model: its plan");
  add_sizes(command, "--memory", options.memory,
            "Free memory of each device, instead of asking the device, as in 24GiB,16GiB")
      ->group("Where");
  command.add_option("--out", options.out, "Write a page of HTML, which needs nothing else")
      ->type_name("FILE");
  command.add_option("--svg", options.svg, "Write a picture")->type_name("FILE");
  command
      .add_option("--png", options.png,
                  "The same, by rsvg-convert, ImageMagick, Inkscape or Chromium, if one is here")
      ->type_name("FILE");
  command
      .add_option("--perfetto", options.perfetto,
                  "Of a trace: write events for ui.perfetto.dev, one microsecond each")
      ->type_name("FILE");
  command.add_flag("--recorded", options.recorded,
                   "Of a trace: each block where the program had it, not in an arena");
  command.add_flag("--force", options.force, "Replace files that exist already");
  command.callback([&options] {  // in place of that of `add_memory_options`
    check_memory_options(options);
    if (options.out.empty() && options.svg.empty() && options.png.empty() &&
        options.perfetto.empty())
      throw CLI::ValidationError{
          "map needs --out FILE.html, --svg FILE.svg, --png FILE.png or --perfetto FILE.json"};
  });
}

namespace {

/// A program and its arguments, and the library that goes in front of HIP's in it.
void add_program(CLI::App& command, std::vector<std::string>& program, std::string& library) {
  command
      .add_option("PROGRAM", program,
                  "The program to run, and its arguments; write -- before it if they begin with -")
      ->required()
      ->expected(1, std::numeric_limits<int>::max() / 2);
  command
      .add_option(
          "--library", library,
          "The library to put in front of HIP's, otherwise the one beside the tool or where "
          "it was installed")
      ->type_name("FILE");
}

}  // namespace

void add_record_options(CLI::App& command, RecordOptions& options) {
  add_program(command, options.program, options.library);
  command
      .add_option("--out", options.out,
                  "Where to write the trace; further processes write to FILE.PID")
      ->type_name("FILE")
      ->default_str(options.out);
  command.add_flag("--force", options.force, "Replace a file that exists already");
}

void add_run_options(CLI::App& command, RunOptions& options) {
  add_program(command, options.program, options.library);
  add_size(command, "--budget", options.budget,
           "Memory to take from each device that the program allocates on (nine tenths of what is "
           "free if not given)");
  add_size(command, "--direct-above", options.direct_above,
           "Leave larger requests to the driver, outside of the budget");
  command
      .add_option("--json", options.json,
                  "Write the summary as JSON, too; further processes write to FILE.PID")
      ->type_name("FILE");
  command.add_flag("--force", options.force, "Replace a file that exists already");
}
