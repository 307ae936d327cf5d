// Texts of errors, put together out of line: a message costs its caller a table of pieces and one call.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "aulos/core/config.hpp"
#include "aulos/core/shape.hpp"

namespace aulos::inline AULOS_ISA {

// A text, a whole number or extents ("[2, 3]"). It refers to what it was made from.
class TextPiece {
 public:
  // NOLINTBEGIN(google-explicit-constructor): pieces are written as what they are made from
  TextPiece(const char* text) noexcept : TextPiece(std::string_view(text)) {}
  TextPiece(const std::string& text) noexcept : TextPiece(std::string_view(text)) {}
  TextPiece(std::string_view text) noexcept : kind_(Kind::text), text_(text.data()), size_(text.size()) {}
  TextPiece(const Dims& dims) noexcept : kind_(Kind::extents), extents_(dims.extent), size_(as_size(dims.rank)) {}
  template <int Rank>
  TextPiece(const Shape<Rank>& shape) noexcept : kind_(Kind::extents), extents_(shape.extents), size_(as_size(Rank)) {}
  template <std::signed_integral Number>
  TextPiece(Number number) noexcept : kind_(Kind::number), number_(number) {}
  template <std::unsigned_integral Number>
  TextPiece(Number number) noexcept : kind_(Kind::natural), natural_(number) {}
  // NOLINTEND(google-explicit-constructor)

  void append_to(std::string& out) const {
    switch (kind_) {
      case Kind::text:
        out.append(text_, size_);
        break;
      case Kind::number:
        out += std::to_string(number_);
        break;
      case Kind::natural:
        out += std::to_string(natural_);
        break;
      case Kind::extents:
        out += to_string(extents_, static_cast<int>(size_));
        break;
    }
  }

 private:
  enum class Kind { text, number, natural, extents };
  static std::size_t as_size(int rank) noexcept { return static_cast<std::size_t>(rank); }

  Kind kind_;
  union {
    const char* text_;
    const Index* extents_;
    Index number_;
    std::uint64_t natural_;
  };
  std::size_t size_ = 0;
};

// The pieces one after the other.
[[gnu::noinline, gnu::cold]] inline std::string concat_text(std::initializer_list<TextPiece> pieces) {
  std::string out;
  for (const TextPiece& piece : pieces) piece.append_to(out);
  return out;
}

}  // namespace aulos::inline AULOS_ISA
