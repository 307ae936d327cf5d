// On how many threads a result must have the bits that one thread gives it.
#pragma once

#include <array>
#include <map>

#include "aulos/core/threads.hpp"

namespace aulos_test {

inline constexpr std::array<int, 5> thread_counts{1, 2, 3, 4, 8};
inline constexpr std::array<int, 4> more_threads{2, 3, 4, 8};  // than the one that is compared with

// A team that is made once: starting threads takes longer than what most tests run on them.
inline aulos::ThreadTeam& team_of(int threads) {
  static std::map<int, aulos::ThreadTeam> teams;
  return teams.try_emplace(threads, threads).first->second;
}

}  // namespace aulos_test
