#pragma once

#include "aulos/core/threads.hpp"

// Whether a team runs a job right.
inline bool works(aulos::ThreadTeam& team) {
  std::atomic<aulos::Index> sum{0};
  team.threads(64).run(100, [&](aulos::Index piece, aulos::Scratch&) { sum += piece; });
  return sum == 4950;
}
