// SPDX-License-Identifier: MIT
/// \file
/// What is compiled for speed, once for all who use it.
#include "engine.hpp"

namespace llama {

template class Engine<allot::HostDevice>;
template class Engine<allot::StagedHostDevice>;

}  // namespace llama
