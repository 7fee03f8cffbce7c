// SPDX-License-Identifier: MIT
#include "engine.hpp"

namespace llama {

template class Engine<allot::HostDevice>;
template class Engine<allot::StagedHostDevice>;

}  // namespace llama
