// Elapsed time. <chrono> costs a translation unit a tenth of a second: it brings the streams along.
#pragma once

#include <ctime>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA {

// Seconds since some fixed moment, never going back where the system has such a clock.
inline double seconds_now() noexcept {
  std::timespec now{};
#if defined(CLOCK_MONOTONIC)
  clock_gettime(CLOCK_MONOTONIC, &now);
#else
  std::timespec_get(&now, TIME_UTC);
#endif
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace aulos::inline AULOS_ISA
