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
class Writer {
 public:
  Writer& begin_object() { return open('{'); }
  Writer& end_object() { return close('}'); }
  Writer& begin_array() { return open('['); }
  Writer& end_array() { return close(']'); }

  Writer& key(std::string_view name) {
    separate();
    append_string(text_, name);
    text_ += ':';
    first_ = true;
    return *this;
  }

  Writer& value(std::string_view text) {
    separate();
    append_string(text_, text);
    return *this;
  }
  Writer& value(const char* text) { return value(std::string_view(text)); }
  Writer& value(std::nullptr_t) = delete;  // null()

  template <class T>
  requires std::is_arithmetic_v<T> Writer& value(T number) {
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

  Writer& null() {
    separate();
    text_ += "null";
    return *this;
  }

  const std::string& text() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  Writer& open(char c) {
    separate();
    text_ += c;
    first_ = true;
    return *this;
  }
  Writer& close(char c) {
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

}  // namespace json

}  // namespace aulos::inline AULOS_ISA::io
