// The one sort of the library: of indices, through a function pointer, so that it is compiled once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/function_ref.hpp"

namespace aulos::inline AULOS_ISA {

// 0 to count - 1 in the order of before(a, b), a strict weak order; equal ones by index. At most 2^32 - 1 of them.
inline std::vector<std::uint32_t> sorted_indices(std::size_t count,
                                                 FunctionRef<bool(std::uint32_t, std::uint32_t)> before) {
  std::vector<std::uint32_t> order(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = static_cast<std::uint32_t>(i);
  std::sort(order.data(), order.data() + count,
            [before](std::uint32_t a, std::uint32_t b) { return before(a, b) || (a < b && !before(b, a)); });
  return order;
}

}  // namespace aulos::inline AULOS_ISA
