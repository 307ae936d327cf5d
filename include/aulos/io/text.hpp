// Names from files in messages: quoted so that no byte of them reaches a terminal raw, and the nearest known name.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"

namespace aulos::inline AULOS_ISA::io {

namespace detail {

inline constexpr std::string_view hex_digits = "0123456789abcdef";

// Length of the UTF-8 sequence at the front of a text that isn't empty, 0 where it is malformed: overlong,
// a surrogate, past U+10FFFF, cut short. `code_point` is set when it is well-formed.
inline std::size_t utf8_sequence(std::string_view text, std::uint32_t& code_point) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t first = byte(0);
  if (first < 0x80) {
    code_point = first;
    return 1;
  }
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  code_point = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) return 0;
    code_point = code_point << 6 | (byte(i) & 0x3fu);
  }
  if (length == 3 && (code_point < 0x800 || (code_point >= 0xd800 && code_point <= 0xdfff))) return 0;
  if (length == 4 && (code_point < 0x10000 || code_point > 0x10ffff)) return 0;
  return length;
}

// Where the text stops being UTF-8; its size if it never does. ASCII passes eight bytes at a time.
inline std::size_t utf8_valid_prefix(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      ++i;
      while (i + 8 <= text.size()) {
        std::uint64_t word = 0;
        std::char_traits<char>::copy(reinterpret_cast<char*>(&word), text.data() + i, 8);
        if ((word & 0x8080808080808080u) != 0) break;
        i += 8;
      }
      continue;
    }
    std::uint32_t code_point = 0;
    const std::size_t length = utf8_sequence(text.substr(i), code_point);
    if (length == 0) return i;
    i += length;
  }
  return i;
}

// Controls, and the marks that reorder or break a line.
inline bool is_hostile_to_terminals(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

}  // namespace detail

// The text with everything that a terminal would act on, and every malformed byte, as \n, \t, \xHH or \u{HHHH}; cut,
// with its full size, after `limit` bytes of input.
template <class = Deferred>
std::string printable(std::string_view text, std::size_t limit = 200) {
  std::string result;
  const auto hexadecimal = [&](std::uint32_t value, int digits) {
    for (int i = digits - 1; i >= 0; --i) result += detail::hex_digits[(value >> (4 * i)) & 15u];
  };
  std::size_t i = 0;
  while (i < text.size() && i < limit) {
    std::uint32_t code_point = 0;
    const std::size_t length = detail::utf8_sequence(text.substr(i), code_point);
    if (length == 0) {
      result += "\\x";
      hexadecimal(static_cast<unsigned char>(text[i]), 2);
    } else if (code_point == '\n') {
      result += "\\n";
    } else if (code_point == '\t') {
      result += "\\t";
    } else if (detail::is_hostile_to_terminals(code_point)) {
      result += "\\u{";
      hexadecimal(code_point, 4);
      result += '}';
    } else {
      result.append(text.substr(i, length));
    }
    i += std::max<std::size_t>(length, 1);
  }
  if (i < text.size()) result += "... (" + std::to_string(text.size()) + " bytes)";
  return result;
}

inline std::string quote(std::string_view text, std::size_t limit = 200) {
  return concat_text({"'", printable(text, limit), "'"});
}

// "[2, 3]"
template <class = Deferred>
std::string shape_text(std::span<const Index> shape) {
  std::string result = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) result += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return result + "]";
}

// Insertions, deletions and substitutions that turn a into b (Levenshtein); `limit` + 1 when there are more than
// `limit`. Costs O(min(|a|, |b|) limit).
template <class = Deferred>
Index edit_distance(std::string_view a, std::string_view b, Index limit) {
  while (!a.empty() && !b.empty() && a.front() == b.front()) a.remove_prefix(1), b.remove_prefix(1);
  while (!a.empty() && !b.empty() && a.back() == b.back()) a.remove_suffix(1), b.remove_suffix(1);
  if (a.size() > b.size()) std::swap(a, b);
  const Index m = static_cast<Index>(a.size());
  const Index n = static_cast<Index>(b.size());
  if (n - m > limit) return limit + 1;
  if (m == 0) return n;
  std::vector<Index> row(static_cast<std::size_t>(m) + 1);  // row[i]: distance of a[0, i) to b[0, j)
  const auto at = [&](Index i) -> Index& { return row[static_cast<std::size_t>(i)]; };
  for (Index i = 0; i <= m; ++i) at(i) = i;
  for (Index j = 1; j <= n; ++j) {
    const Index low = std::max<Index>(1, j - limit);  // outside this band the distance is over the limit
    const Index high = (std::min)(m, j + limit);
    Index diagonal = at(low - 1);
    at(low - 1) = low == 1 ? j : limit + 1;
    Index best = at(low - 1);
    for (Index i = low; i <= high; ++i) {
      const Index above = i == j + limit ? limit + 1 : at(i);
      const Index substitution = diagonal + (a[static_cast<std::size_t>(i - 1)] != b[static_cast<std::size_t>(j - 1)]);
      diagonal = at(i);
      at(i) = (std::min)({substitution, above + 1, at(i - 1) + 1});
      best = (std::min)(best, at(i));
    }
    if (best > limit) return limit + 1;
  }
  return (std::min)(at(m), limit + 1);
}

// The index of the candidate with the smallest edit distance to `name`, -1 if none is within a third of its length
// (at least 2, at most 24). `budget` bounds the work of many searches: it counts characters compared and is used up.
template <class = Deferred>
Index nearest(std::string_view name, std::span<const std::string_view> candidates, Index& budget) {
  const Index size = static_cast<Index>(name.size());
  Index limit = std::clamp<Index>(size / 3, 2, 24);
  Index found = -1;
  for (std::size_t i = 0; i < candidates.size() && limit >= 0; ++i) {
    const Index difference = size - static_cast<Index>(candidates[i].size());
    const bool is_close = difference <= limit && -difference <= limit;
    budget -= is_close ? (size + 1) * (limit + 1) : 1;
    if (budget < 0) return found;
    const Index distance = is_close ? edit_distance(name, candidates[i], limit) : limit + 1;
    if (distance > limit) continue;
    found = static_cast<Index>(i);
    limit = distance - 1;
  }
  return found;
}

}  // namespace aulos::inline AULOS_ISA::io
