// Spans of vectors and strings, without the range constructors of std::span: checking their constraints costs the
// compiler some 15 to 30 ms for each element type, in every program that includes such a conversion.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA {

template <class T>
std::span<const T> as_span(const std::vector<T>& elements) noexcept {
  return {elements.data(), elements.size()};
}

// The characters as the bytes of a file.
inline std::span<std::byte> as_bytes(std::string& text) noexcept {
  return {reinterpret_cast<std::byte*>(text.data()), text.size()};
}
inline std::span<const std::byte> as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace aulos::inline AULOS_ISA
