// SPDX-License-Identifier: MIT
#include <allot/gguf/writer/copy.hpp>

#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "output.hpp"

namespace gguf = allot::gguf;

void merge(const RewriteOptions& options) {
  const gguf::File file{options.file};
  const gguf::Writer writer = gguf::copy_of(file);
  if (!options.force) refuse_to_overwrite({options.out});
  {
    ProgressBar bar;
    writer.write(options.out, {.progress = [&](const allot::Progress& at) { bar.draw(at); }});
  }

  const std::uint64_t bytes = std::filesystem::file_size(options.out);
  if (options.json) {
    const nlohmann::ordered_json out = {
        {"file", printable(options.file)},  {"shards", file.shards().size()},
        {"tensors", file.tensors().size()}, {"tensor_bytes", writer.data_bytes()},
        {"out", printable(options.out)},    {"bytes", bytes}};
    print("{}\n", out.dump(2));
    return;
  }
  print("Merged {} file{} into {}\n  {} tensors, {}\n", file.shards().size(),
        file.shards().size() == 1 ? "" : "s", printable(options.out), file.tensors().size(),
        size_text(bytes));
}
