// The training run that two systems share: an MLP under AdamW with a warmup-stable-decay schedule.
#pragma once

#include "aulos/registry.hpp"

namespace verify {

void trajectory(aulos::Case& c);

}  // namespace verify
