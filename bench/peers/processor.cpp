#include "bench/peers/processor.hpp"

#include <fstream>

namespace peers {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string name, family, model;
  for (std::string line; std::getline(info, line) && !line.empty();) {
    const auto field = [&](const char* key) {
      const std::size_t colon = line.find(": ");
      const bool same = colon != line.npos && line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1) == key;
      return same ? line.substr(colon + 2) : std::string();
    };
    if (const std::string text = field("model name"); !text.empty()) name = text;
    if (const std::string text = field("cpu family"); !text.empty()) family = text;
    if (const std::string text = field("model"); !text.empty()) model = text;
  }
#if defined(__aarch64__)
  if (name.empty()) name = "aarch64";
#else
  if (name.empty()) name = "unknown";
#endif
  return family.empty() ? name : name + " (family " + family + " model " + model + ")";
}

}  // namespace peers
