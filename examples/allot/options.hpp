// SPDX-License-Identifier: MIT
/// \file
/// The options of each command: their names, their texts in `--help`, and what values they take.
#pragma once

#include <CLI/App.hpp>

#include "commands.hpp"

void add_inspect_options(CLI::App& command, InspectOptions& options);
void add_plan_options(CLI::App& command, MemoryOptions& options);
void add_load_options(CLI::App& command, MemoryOptions& options);
void add_split_options(CLI::App& command, RewriteOptions& options);
void add_merge_options(CLI::App& command, RewriteOptions& options);
void add_completions_options(CLI::App& command, CompletionsOptions& options);
void add_man_options(CLI::App& command, ManOptions& options);
void add_offsets_options(CLI::App& command, OffsetsOptions& options);
void add_replay_options(CLI::App& command, ReplayCommandOptions& options);
void add_map_options(CLI::App& command, MapOptions& options);
void add_record_options(CLI::App& command, RecordOptions& options);
void add_run_options(CLI::App& command, RunOptions& options);
