// SPDX-License-Identifier: MIT
#include "command_table.hpp"

#include <CLI/App.hpp>

#include <memory>
#include <utility>

#include "commands.hpp"
#include "options.hpp"

namespace {

/// Returns what adds a command's options to the parser, and then runs it with what was parsed.
template <class Options>
Setup setup(void (*add)(CLI::App&, Options&), void (*command_of)(const Options&)) {
  return [add, command_of](CLI::App& command) {
    const auto options = std::make_shared<Options>();
    add(command, *options);
    return [options, command_of] { command_of(*options); };
  };
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> all{
      {"inspect", "Show what a file holds",
       "  allot inspect model.gguf\n"
       "  allot inspect model.gguf --tensors --kv\n"
       "  allot inspect model.gguf --for llama.cpp             what that cannot read\n"
       "  allot inspect model.gguf --json\n",
       setup(add_inspect_options, inspect)},
      {"plan", "Show what memory a model takes, exactly",
       "  allot plan model.gguf\n"
       "  allot plan model.gguf --context 8192                 with a KV cache\n"
       "  allot plan model.gguf --device hip --fit             the largest context\n"
       "  allot plan model.gguf --context 8192 --for llama.cpp --cache-type q8_0\n"
       "  allot plan model.gguf --device hip:0,hip:1 --memory 24GiB,16GiB\n"
       "  allot plan model.gguf --fuse qkv,gate-up             what can be one tensor\n"
       "  allot plan model.gguf --shares pipeline:2,tensor:4 --memory 24GiB\n",
       setup(add_plan_options, plan)},
      {"load", "Load a model, with one allocation a device",
       "  allot load model.gguf --verify                       and compare every byte\n"
       "  allot load model.gguf --device hip --context 8192\n"
       "  allot load model.gguf --device hip,host --fit        the context that fits\n"
       "  allot load model.gguf --dequantize '*attn*=f16'      some tensors as floats\n"
       "  mpirun -n 4 allot load model.gguf --shares tensor:4 --read-once --verify\n",
       setup(add_load_options, load)},
      {"split", "Write a model as several files",
       "  allot split model.gguf parts/model --max-size 2GB\n"
       "  allot split model.gguf parts/model --max-tensors 100\n",
       setup(add_split_options, split)},
      {"merge", "Write a split model as one file",
       "  allot merge parts/model-00001-of-00003.gguf model.gguf\n"
       "  allot merge parts/model-00001-of-00003.gguf - | ssh host 'cat > model.gguf'\n",
       setup(add_merge_options, merge)},
      {"offsets", "Plan buffers whose lifetimes are known into one block",
       "  allot offsets graph.csv --svg graph.svg\n"
       "  allot offsets graph.csv --capacity 64MiB             what to keep elsewhere\n"
       "  allot offsets graph.csv --out placed.csv --work 3000000000\n",
       setup(add_offsets_options, offsets)},
      {"replay", "Run a recorded trace over every strategy, and name the arena to write",
       "  allot replay snapshot.pickle\n"
       "  allot replay rmm.csv --capacity 8GiB                 what is refused there\n"
       "  allot replay requests.jsonl --blocks 10000           hits of prefixes\n"
       "  allot replay azure.csv --model model.gguf --capacity 8GiB\n",
       setup(add_replay_options, replay)},
      {"map", "Draw a trace, memory or a plan as a page for a browser",
       "  allot map snapshot.pickle --out snapshot.html\n"
       "  allot map model.gguf --context 8192 --out plan.html  what a model takes\n"
       "  allot map arena.json --out arena.html                what report::dump wrote\n",
       setup(add_map_options, map)},
      {"record", "Run a program of any kind, and write down what it allocates by HIP",
       "  allot record -- ./engine --model model.gguf\n"
       "  allot record --out engine.trace -- python3 serve.py\n"
       "  allot replay allot.trace                             which arena suits it\n",
       setup(add_record_options, record)},
      {"run", "Run a program whose HIP memory comes from one arena and a pool",
       "  allot run --budget 8GiB -- ./engine --model model.gguf\n"
       "  allot run --direct-above 1GiB --json saved.json -- python3 serve.py\n",
       setup(add_run_options, run)},
      {"completions", "Print the completions of a shell: bash, zsh or fish",
       "  allot completions bash > ~/.local/share/bash-completion/completions/allot\n"
       "  allot completions zsh > ~/.zfunc/_allot\n"
       "  allot completions fish > ~/.config/fish/completions/allot.fish\n",
       setup(add_completions_options, print_completions)},
      {"man", "Print the manual page", "  allot man > allot.1; man ./allot.1\n",
       setup(add_man_options, print_man_page)},
  };
  return all;
}

std::unique_ptr<CommandLine> make_command_line() {
  auto line = std::make_unique<CommandLine>();
  line->parser = std::make_unique<CLI::App>(
      "allot: plans the memory of GGUF models to the byte, and loads them into one arena", "allot");
  CLI::App& parser = *line->parser;
  parser.require_subcommand(0, 1);
  parser.set_help_flag("-h,--help", "Show this help");
  parser.add_flag("--version", line->version, "Show the version");
  for (const Command& command : commands()) {
    CLI::App* const added = parser.add_subcommand(command.name, command.summary);
    added->set_help_flag("-h,--help", "Show this help");
    line->runs.push_back(command.setup(*added));
  }
  return line;
}
