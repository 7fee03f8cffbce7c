// SPDX-License-Identifier: MIT
#include <allot/gguf/writer/copy.hpp>
#include <allot/os/terminal.hpp>

#include <fmt/core.h>

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "commands.hpp"
#include "output.hpp"
#include "signals.hpp"

namespace gguf = allot::gguf;

namespace {

/// Writes the model, and returns its bytes. What is not complete is removed at ctrl-C.
std::uint64_t write_file(const gguf::Writer& writer, const std::string& path) {
  const Interruptible interruptible;
  ProgressBar bar;
  return writer.write(path, {.progress = [&](const allot::Progress& at) {
                        interruptible.check();
                        bar.draw(at);
                      }});
}

/// Writes the model to standard output, which a command behind it may end at any time.
std::uint64_t write_to_output(const gguf::Writer& writer) {
  if (allot::os::output_columns() != 0)
    throw std::runtime_error{"standard output is a terminal; redirect it, or name a file"};
  ProgressBar bar;
  return writer.write("/dev/stdout",
                      {.progress = [&](const allot::Progress& at) { bar.draw(at); }});
}

}  // namespace

void merge(const RewriteOptions& options) {
  const gguf::File file{options.file};
  const gguf::Writer writer = gguf::copy_of(file);
  const bool is_output = is_standard_output(options.out);
  if (!is_output) {
    writer.check_target(options.out);
    if (!options.force) refuse_to_overwrite({options.out});
  }
  const std::uint64_t bytes = is_output ? write_to_output(writer) : write_file(writer, options.out);

  // The report goes where the model does not.
  std::FILE* const report = is_output ? stderr : stdout;
  if (options.json) {
    const nlohmann::ordered_json out = {
        {"file", printable(options.file)},  {"shards", file.shards().size()},
        {"tensors", file.tensors().size()}, {"tensor_bytes", writer.data_bytes()},
        {"out", printable(options.out)},    {"bytes", bytes}};
    write_to(report, out.dump(2) + "\n");
    return;
  }
  write_to(report, fmt::format("Merged {} file{} into {}\n  {} tensors, {}\n", file.shards().size(),
                               file.shards().size() == 1 ? "" : "s",
                               is_output ? "standard output" : printable(options.out),
                               file.tensors().size(), size_text(bytes)));
}
