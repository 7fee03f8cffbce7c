// SPDX-License-Identifier: MIT
// The commands that print what is made from the table of commands.
#include "commands.hpp"
#include "help.hpp"
#include "output.hpp"

void print_completions(const CompletionsOptions& options) { write_out(completions(options.shell)); }

void print_man_page(const ManOptions&) { write_out(man_page()); }
