// SPDX-License-Identifier: MIT
// The allot tool: looks at GGUF files, plans their memory, loads them.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

#include "commands.hpp"
#include "output.hpp"

namespace {

constexpr int cannot_be_done = 1;
constexpr int wrong_usage = 2;

/// One line, whatever the message holds.
void print_error(std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "allot: %s\n", printable(message).c_str());
}

std::string check_margin(const std::string& text) {
  if (text == "usual" || text == "none") return "";
  const bool is_percentage =
      text.size() >= 2 && text.size() <= 5 && text.back() == '%' &&
      std::all_of(text.begin(), text.end() - 1, [](char c) { return c >= '0' && c <= '9'; });
  return is_percentage ? "" : "a margin is usual, none, or a percentage such as 20%";
}

/// `host`, `hip` or `hip:N`.
std::string check_device(const std::string& text) {
  const bool is_numbered =
      text.size() > 4 && text.starts_with("hip:") &&
      std::all_of(text.begin() + 4, text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (text == "host" || text == "hip" || is_numbered) return "";
  return "a device is host, hip or hip:N, not " + text;
}

std::string check_alignment(const std::string& text) {
  try {
    with_alignment(std::stoull(text), []<class Policy>() {});
    return "";
  } catch (const std::exception&) {
    return std::string{"the alignment is one of "} + alignments_text;
  }
}

void add_memory_options(CLI::App& command, MemoryOptions& options) {
  command.add_option("FILE", options.file, "A GGUF file, or any shard of a split one")->required();
  command.add_option("--alignment", options.alignment, "Bytes that every tensor is aligned to")
      ->check(CLI::Validator{check_alignment, "BYTES"})
      ->capture_default_str();
  command.add_option("--device", options.device, "Where the memory is: host")
      ->check(CLI::Validator{check_device, "DEVICE"})
      ->capture_default_str();
  command.add_flag("--json", options.json, "Print one JSON object and nothing else");
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
      "  allot plan model-00001-of-00009.gguf     any shard of a split model will do\n"
      "Exit status: 0 done, 1 it could not be done, 2 wrong usage.");

  InspectOptions inspected;
  CLI::App* inspect_command = app.add_subcommand("inspect", "Show what a file holds");
  inspect_command->add_option("FILE", inspected.file, "A GGUF file, or any shard of a split one")
      ->required();
  inspect_command->add_flag("--tensors", inspected.tensors, "List every tensor");
  inspect_command->add_flag("--kv", inspected.metadata, "List the metadata; long arrays shortened");
  inspect_command->add_flag("--json", inspected.json, "Print one JSON object and nothing else");

  MemoryOptions planned;
  CLI::App* plan_command = app.add_subcommand("plan", "Show what memory a model takes, exactly");
  add_memory_options(*plan_command, planned);

  MemoryOptions loaded;
  CLI::App* load_command = app.add_subcommand("load", "Load a model into one arena");
  add_memory_options(*load_command, loaded);
  load_command->add_flag("--verify", loaded.verify,
                         "Read every tensor again and compare each byte");
  load_command
      ->add_option("--margin", loaded.margin,
                   "Memory to keep free: usual (the larger of 10 % and 100 MiB), none, or N%")
      ->check(CLI::Validator{check_margin, "MARGIN"})
      ->capture_default_str();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    print_error(std::string{error.what()} + "; see allot --help");
    return wrong_usage;
  }

  try {
    if (*inspect_command) inspect(inspected);
    if (*plan_command) plan(planned);
    if (*load_command) load(loaded);
  } catch (const std::exception& error) {
    print_error(error.what());
    return cannot_be_done;
  }
  return 0;
}
