// SPDX-License-Identifier: MIT
// The allot tool: looks at GGUF files, splits and merges them, plans their memory, loads them.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

#include "commands.hpp"
#include "options.hpp"
#include "output.hpp"

namespace {

constexpr int cannot_be_done = 1;
constexpr int wrong_usage = 2;

/// Returns an error's text with its causes: `out of memory ...: hipMalloc failed with ...`.
std::string describe(const std::exception& error) {
  std::string text = error.what();
  try {
    std::rethrow_if_nested(error);
  } catch (const std::exception& nested) {
    text += ": " + describe(nested);
  } catch (...) {
  }
  return text;
}

/// Prints one line, whatever the message holds.
void print_error(std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "allot: %s\n", printable(message).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"allot: plans the memory of GGUF models to the byte, and loads them into one arena"};
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  allot inspect model.gguf --tensors       what is in a file\n"
      "  allot plan model.gguf                    how much memory it takes, exactly\n"
      "  allot load model.gguf --verify           load it and compare every byte\n"
      "  allot plan model.gguf --context 8192     with a KV cache of that length\n"
      "  allot plan model.gguf --device hip --fit the largest context that fits the GPU\n"
      "  allot plan model.gguf --device hip:0,hip:1 --memory 24GiB,16GiB   for GPUs elsewhere\n"
      "  allot load model.gguf --device hip --verify        onto a GPU\n"
      "  allot plan model.gguf --fuse qkv,gate-up           which tensors can become one\n"
      "  allot load model.gguf --dequantize '*attn*=f16' --verify   some tensors as floats\n"
      "  allot split model.gguf parts/model --max-size 2G\n"
      "  allot merge parts/model-00001-of-00003.gguf model.gguf\n"
      "Any shard of a split model will do.\n"
      "Exit status: 0 success, 1 failure, 2 wrong usage.");

  InspectOptions inspected;
  CLI::App* inspect_command = app.add_subcommand("inspect", "Show what a file holds");
  add_inspect_options(*inspect_command, inspected);

  MemoryOptions planned;
  CLI::App* plan_command = app.add_subcommand("plan", "Show what memory a model takes, exactly");
  add_plan_options(*plan_command, planned);

  MemoryOptions loaded;
  CLI::App* load_command = app.add_subcommand("load", "Load a model, with one allocation a device");
  add_load_options(*load_command, loaded);

  RewriteOptions splitting;
  CLI::App* split_command = app.add_subcommand("split", "Write a model as several files");
  add_split_options(*split_command, splitting);

  RewriteOptions merging;
  CLI::App* merge_command = app.add_subcommand("merge", "Write a split model as one file");
  add_merge_options(*merge_command, merging);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    print_error(std::string{error.what()} + "; see allot --help");
    return wrong_usage;
  }
  for (const MemoryOptions* options : {&planned, &loaded}) {
    if (options->placement != "chunks" || options->chunk_bytes != 0) continue;
    print_error("--placement chunks needs --chunk, as in --chunk 1GiB; see allot --help");
    return wrong_usage;
  }

  if (*split_command && splitting.max_bytes == 0 && splitting.max_tensors == 0) {
    print_error("split needs --max-size, as in --max-size 2G, or --max-tensors; see allot --help");
    return wrong_usage;
  }

  try {
    if (*inspect_command) inspect(inspected);
    if (*plan_command) plan(planned);
    if (*load_command) load(loaded);
    if (*split_command) split(splitting);
    if (*merge_command) merge(merging);
  } catch (const std::exception& error) {
    print_error(describe(error));
    return cannot_be_done;
  }
  return 0;
}
