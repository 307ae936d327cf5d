// What an operation costs, and the record of what operations did.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/sorted_indices.hpp"

namespace aulos::inline AULOS_ISA {

// What one operation costs: floating-point operations (a multiply-add counts two), bytes read and written, and the
// scratch bytes that each running piece of its kernel takes.
struct Cost {
  double flops = 0;
  double bytes = 0;
  std::size_t scratch = 0;
};

// Cost of `count` elements with `flops` operations each, of T, read or written `arrays` times.
template <class T>
Cost cost_per_element(Index count, double flops, double arrays) noexcept {
  const double n = static_cast<double>(count);
  return {.flops = flops * n, .bytes = arrays * n * static_cast<double>(sizeof(T))};
}

// One operation as it ran.
struct ProfileRecord {
  const char* operation = "";
  std::string scope;  // "transformer_blocks.3"
  double seconds = 0;
  double flops = 0;
  double bytes = 0;
};

// All records of one operation added up.
struct ProfileRow {
  std::string_view operation;
  Index calls = 0;
  double seconds = 0;
  double flops = 0;
  double bytes = 0;
};

// The records added up by operation, the slowest first.
template <class = Deferred>
std::vector<ProfileRow> summarise(const std::vector<ProfileRecord>& records) {
  std::vector<ProfileRow> rows;
  for (const ProfileRecord& record : records) {
    std::size_t at = 0;
    while (at < rows.size() && rows[at].operation != record.operation) ++at;
    if (at == rows.size()) rows.push_back({.operation = record.operation});
    ProfileRow& row = rows[at];
    ++row.calls;
    row.seconds += record.seconds;
    row.flops += record.flops;
    row.bytes += record.bytes;
  }
  std::vector<ProfileRow> sorted;
  sorted.reserve(rows.size());
  for (const std::uint32_t i : sorted_indices(
           rows.size(), [&](std::uint32_t a, std::uint32_t b) { return rows[a].seconds > rows[b].seconds; })) {
    sorted.push_back(rows[i]);
  }
  return sorted;
}

}  // namespace aulos::inline AULOS_ISA
