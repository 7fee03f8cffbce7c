// SPDX-License-Identifier: MIT
/// \file
/// `allot load --shares`: one process of several, each of which loads its share. Only the program
/// allot-mpi is linked with MPI; `allot` starts it in its place.
#pragma once

#include "commands.hpp"

/// Loads this rank's share; rank 0 prints. In `allot`: becomes allot-mpi, with the same arguments.
extern void (*load_shares)(const MemoryOptions& options);
