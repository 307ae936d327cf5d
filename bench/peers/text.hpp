// Numbers as the page and the charts show them.
#pragma once

#include <cstdio>
#include <string>

namespace peers {

inline std::string format(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

inline std::string milliseconds(double seconds) {
  return format(seconds < 1e-4 ? "%.4f" : seconds < 1e-2 ? "%.3f" : seconds < 1 ? "%.1f" : "%.0f", seconds * 1e3);
}

}  // namespace peers
