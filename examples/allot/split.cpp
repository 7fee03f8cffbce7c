// SPDX-License-Identifier: MIT
#include <allot/gguf/writer/copy.hpp>

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "output.hpp"
#include "signals.hpp"

namespace gguf = allot::gguf;

void split(const RewriteOptions& options) {
  const gguf::File file{options.file};
  const gguf::Writer writer = gguf::copy_of(file);
  gguf::SplitOptions how;
  if (options.max_bytes != 0) how.max_bytes = options.max_bytes;
  if (options.max_tensors != 0) how.max_tensors = options.max_tensors;
  how.no_tensor_first_split = options.no_tensor_first_split;
  std::vector<std::string> paths = writer.split_paths(options.out, how);
  for (const std::string& path : paths) writer.check_target(path);
  if (!options.force) refuse_to_overwrite(paths);
  {
    const Interruptible interruptible;
    ProgressBar bar;
    how.progress = [&](const allot::Progress& at) {
      interruptible.check();
      bar.draw(at);
    };
    paths = writer.write_split(options.out, how);
  }

  const gguf::File written{paths.front()};
  std::vector<std::uint64_t> tensors(paths.size());
  for (const gguf::TensorInfo& tensor : written.tensors()) ++tensors[tensor.shard];
  nlohmann::ordered_json shards = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < paths.size(); ++i) {
    shards.push_back({{"file", printable(paths[i])},
                      {"tensors", tensors[i]},
                      {"bytes", written.shards()[i].size()}});
  }
  if (options.json) {
    const nlohmann::ordered_json out = {{"file", printable(options.file)},
                                        {"tensors", written.tensors().size()},
                                        {"tensor_bytes", writer.data_bytes()},
                                        {"shards", std::move(shards)}};
    print("{}\n", out.dump(2));
    return;
  }
  print("Split {} into {} file{}\n", printable(options.file), paths.size(),
        paths.size() == 1 ? "" : "s");
  for (std::size_t i = 0; i < paths.size(); ++i) {
    print("  {}  {} tensors, {}\n", printable(paths[i]), tensors[i],
          size_text(written.shards()[i].size()));
  }
}
