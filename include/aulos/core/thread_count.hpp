// How many threads this process should use: what affinity, the container's CPU quota and the hardware allow.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "aulos/core/config.hpp"

#if defined(__linux__)
#include <sched.h>

#include <bit>
#include <cerrno>
#include <vector>
#endif

namespace aulos::inline AULOS_ISA {

// Processors that a CPU quota of `quota` microseconds in each `period` stands for, rounded up; nothing: no limit, or
// text that is not a quota. Text as in cgroup v1's cpu.cfs_quota_us and cpu.cfs_period_us.
inline std::optional<Index> quota_processors(std::string_view quota, std::string_view period) {
  const auto number = [](std::string_view text) -> std::optional<Index> {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
    Index value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
  };
  const auto time = number(quota), of = number(period);
  if (!time || !of || *time <= 0 || *of <= 0) return std::nullopt;
  return (*time - 1) / *of + 1;
}

// The same from cgroup v2's cpu.max: "max 100000", or "200000 100000".
inline std::optional<Index> quota_processors(std::string_view cpu_max) {
  const auto space = cpu_max.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  return quota_processors(cpu_max.substr(0, space), cpu_max.substr(space + 1));
}

// The path of this process's group in the text of /proc/self/cgroup: of the cgroup v1 hierarchy that holds
// `controller`, or for an empty controller of cgroup v2 ("0::/path").
inline std::optional<std::string_view> cgroup_path(std::string_view text, std::string_view controller) {
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix((std::min)(text.size(), line.size() + 1));
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    auto names = line.substr(first + 1, second - first - 1);
    if (controller.empty()) {
      if (names.empty() && line.substr(0, first) == "0") return line.substr(second + 1);
      continue;
    }
    while (!names.empty()) {
      const auto name = names.substr(0, names.find(','));
      if (name == controller) return line.substr(second + 1);
      names.remove_prefix((std::min)(names.size(), name.size() + 1));
    }
  }
  return std::nullopt;
}

// The tightest CPU quota on this process's groups and their parents, v1 or v2. The files' places are arguments for
// tests.
inline std::optional<Index> cgroup_quota(const std::string& self = "/proc/self/cgroup",
                                         const std::string& mount = "/sys/fs/cgroup") {
  const auto read = [](const std::string& path) {
    std::string text;
    if (std::FILE* file = std::fopen(path.c_str(), "re")) {
      char buffer[4096];
      while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, got);
      std::fclose(file);
    }
    return text;
  };
  std::optional<Index> limit;
  const auto tighten = [&limit](std::optional<Index> processors) {
    if (processors && (!limit || *processors < *limit)) limit = processors;
  };
  // From the group itself up to the root: inside a container the path may be the host's, and only the root is there.
  const auto walk = [](std::string_view group, auto&& visit) {
    for (;;) {
      while (!group.empty() && group.back() == '/') group.remove_suffix(1);
      visit(std::string(group));
      if (group.empty()) return;
      group = group.substr(0, (std::min)(group.size(), group.rfind('/')));
    }
  };
  const std::string groups = read(self);
  if (const auto group = cgroup_path(groups, {})) {
    walk(*group, [&](const std::string& path) { tighten(quota_processors(read(mount + path + "/cpu.max"))); });
  }
  if (const auto group = cgroup_path(groups, "cpu")) {
    walk(*group, [&](const std::string& path) {
      const std::string folder = mount + "/cpu" + path;
      tighten(quota_processors(read(folder + "/cpu.cfs_quota_us"), read(folder + "/cpu.cfs_period_us")));
    });
  }
  return limit;
}

// Processors that the scheduler may give to the calling thread; 0: unknown.
inline Index affinity_count() {
#if defined(__linux__)
  std::vector<unsigned long> mask(16);  // 1024 processors, more where the kernel says that it is too small
  while (sched_getaffinity(0, mask.size() * sizeof(unsigned long), reinterpret_cast<cpu_set_t*>(mask.data())) != 0) {
    if (errno != EINVAL || mask.size() >= (std::size_t{1} << 16)) return 0;
    mask.assign(mask.size() * 2, 0);
  }
  Index count = 0;
  for (const unsigned long word : mask) count += std::popcount(word);
  return count;
#else
  return 0;
#endif
}

// The smallest of those limits that are known (0 or nothing: unknown), at least 1.
inline int thread_count(Index hardware, Index affinity, std::optional<Index> quota) noexcept {
  Index count = INT16_MAX;
  bool known = false;
  for (const Index limit : {hardware, affinity, quota.value_or(0)}) {
    if (limit <= 0) continue;
    count = (std::min)(count, limit);
    known = true;
  }
  return known ? static_cast<int>(count) : 1;
}

// The number of threads that a Context starts with unless told otherwise.
inline int default_thread_count() {
  return thread_count(static_cast<Index>(std::thread::hardware_concurrency()), affinity_count(), cgroup_quota());
}

}  // namespace aulos::inline AULOS_ISA
