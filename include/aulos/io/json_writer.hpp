// A compact JSON writer.
#pragma once

#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

namespace json {

// Appends a JSON string: quotes, backslashes and controls escaped, everything else as it is.
inline void append_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += io::detail::hex_digits[static_cast<unsigned char>(c) >> 4];
          out += io::detail::hex_digits[static_cast<unsigned char>(c) & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

// Builds compact text, commas included. Numbers are the shortest that read back to the same value, in every locale;
// NaN and infinities, which JSON lacks, become null.
template <class = Deferred>
class BasicWriter {
 public:
  BasicWriter& begin_object() { return open('{'); }
  BasicWriter& end_object() { return close('}'); }
  BasicWriter& begin_array() { return open('['); }
  BasicWriter& end_array() { return close(']'); }

  BasicWriter& key(std::string_view name) {
    separate();
    append_string(text_, name);
    text_ += ':';
    first_ = true;
    return *this;
  }

  BasicWriter& value(std::string_view text) {
    separate();
    append_string(text_, text);
    return *this;
  }
  BasicWriter& value(const char* text) { return value(std::string_view(text)); }
  BasicWriter& value(std::nullptr_t) = delete;  // null()

  template <class T>
  requires std::is_arithmetic_v<T> BasicWriter& value(T number) {
    separate();
    if constexpr (std::is_same_v<T, bool>) {
      text_ += number ? "true" : "false";
    } else {
      char buffer[64];
      const auto result = std::to_chars(buffer, buffer + sizeof(buffer), number);
      const std::string_view digits(buffer, static_cast<std::size_t>(result.ptr - buffer));
      text_ += digits.find_first_of("in") == std::string_view::npos ? digits : "null";
    }
    return *this;
  }

  BasicWriter& null() {
    separate();
    text_ += "null";
    return *this;
  }

  const std::string& text() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  BasicWriter& open(char c) {
    separate();
    text_ += c;
    first_ = true;
    return *this;
  }
  BasicWriter& close(char c) {
    text_ += c;
    first_ = false;
    return *this;
  }
  void separate() {
    if (!first_) text_ += ',';
    first_ = false;
  }

  std::string text_;
  bool first_ = true;
};
using Writer = BasicWriter<>;

}  // namespace json

}  // namespace aulos::inline AULOS_ISA::io
