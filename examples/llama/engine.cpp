// SPDX-License-Identifier: MIT
/// \file
/// What is compiled once for all who use it.
#include "engine.hpp"

template class llama::Engine<allot::HostDevice>;
template class llama::Engine<allot::StagedHostDevice>;
