// A strict JSON reader for files nobody vouches for.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/sorted_indices.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

// Malformed text; the message starts with the byte. Who knows the file adds its name.
class JsonError : public Error {
 public:
  using Error::Error;
};

namespace json {

inline constexpr int max_depth = 64;

// The first name, in alphabetical order, that occurs twice.
inline std::optional<std::string_view> find_duplicate(const std::vector<std::string_view>& names) {
  if (names.size() < 2) return std::nullopt;
  const auto order =
      sorted_indices(names.size(), [&](std::uint32_t a, std::uint32_t b) { return names[a] < names[b]; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (names[order[i]] == names[order[i - 1]]) return names[order[i]];
  }
  return std::nullopt;
}

// A number as it was written: an integer that fits into Index, or a double.
struct Number {
  bool is_integer = false;
  Index integer = 0;
  double real = 0;
};

// Walks RFC 8259 text from front to back, in linear time and without a tree. The text must outlive the reader; strings
// are views into it, or into the reader where they had escapes.
template <class = Deferred>
class BasicReader {
 public:
  // `offset` is where the text starts in its file, for messages.
  explicit BasicReader(std::string_view text, Index offset = 0) : text_(text), offset_(offset) {
    const std::size_t valid = io::detail::utf8_valid_prefix(text);
    if (valid != text.size()) fail_at(valid, "expected UTF-8, got byte " + quote(text.substr(valid, 1)));
  }
  BasicReader(const BasicReader&) = delete;
  BasicReader& operator=(const BasicReader&) = delete;

  Index position() const { return static_cast<Index>(at_); }

  // Ends the reading; the views into the reader become views into the result.
  std::forward_list<std::string> take_strings() { return std::move(unescaped_); }

  // The next byte that isn't white space, '\0' at the end of the text.
  char peek() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool accept(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }

  void expect(char c, std::string_view what) {
    if (!accept(c)) fail_here("expected '" + std::string(1, c) + "' " + std::string(what));
  }

  void expect_end() {
    peek();
    if (at_ != text_.size()) fail_here("expected the end of the text");
  }

  std::string_view string(std::string_view what) {
    if (peek() != '"') fail_here("expected a string for " + std::string(what));
    const std::size_t begin = ++at_;
    while (at_ < text_.size() && is_plain(text_[at_])) ++at_;
    if (at_ < text_.size() && text_[at_] == '"') return text_.substr(begin, at_++ - begin);

    std::string& result = unescaped_.emplace_front(text_.substr(begin, at_ - begin));
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\') {
        append_escape(result);
      } else {
        check_character();
        result += text_[at_ - 1];
      }
    }
    if (at_ == text_.size()) fail_at(begin - 1, "a string without its closing quote");
    ++at_;
    return result;
  }

  // 0 to 2^63 - 1, digits only.
  Index natural(std::string_view what) {
    peek();
    const std::size_t begin = at_;
    Index value = 0;
    bool fits = true;
    for (; at_ < text_.size() && is_digit(text_[at_]); ++at_) {
      fits = fits && !__builtin_mul_overflow(value, 10, &value) &&
             !__builtin_add_overflow(value, text_[at_] - '0', &value);
    }
    const char next = at_ < text_.size() ? text_[at_] : '\0';
    const bool is_integer =
        at_ > begin && (text_[begin] != '0' || at_ == begin + 1) && next != '.' && next != 'e' && next != 'E';
    if (fits && is_integer) return value;
    at_ = begin;
    const std::string token = printable(number_token(what), 40);
    fail_at(begin, std::string(what) +
                       (is_integer ? " exceeds 2^63 - 1: "
                                   : " must be an integer from 0, without sign, point or exponent, got ") +
                       token);
  }

  // An integer that fits is an Index, every other number a double; one beyond double's range is refused.
  Number number(std::string_view what) {
    const std::string_view token = number_token(what);
    const char* const end = token.data() + token.size();
    Index integer = 0;
    const auto whole = std::from_chars(token.data(), end, integer);
    if (whole.ec == std::errc() && whole.ptr == end && token != "-0") return {true, integer, 0};
    double real = 0;
    const auto fraction = std::from_chars(token.data(), end, real);
    if (fraction.ec != std::errc() || fraction.ptr != end) {
      fail_at(at_ - token.size(), "number out of range of double: " + printable(token, 40));
    }
    return {false, 0, real};
  }

  bool accept_literal(std::string_view literal) {
    peek();
    if (text_.substr(at_, literal.size()) != literal) return false;
    at_ += literal.size();
    return true;
  }

  // fn(key) for each member, which must read the value. Telling duplicates apart is the caller's job.
  template <class Function>
  void object(std::string_view what, Function&& fn) {
    if (!accept('{')) fail_here("expected an object for " + std::string(what));
    enter();
    if (!accept('}')) {
      do {
        const std::string_view key = string("a key");
        expect(':', "after a key");
        fn(key);
      } while (accept(','));
      expect('}', "or ',' in an object");
    }
    --depth_;
  }

  // fn() for each element, which it must read.
  template <class Function>
  void array(std::string_view what, Function&& fn) {
    if (!accept('[')) fail_here("expected an array for " + std::string(what));
    enter();
    if (!accept(']')) {
      do fn();
      while (accept(','));
      expect(']', "or ',' in an array");
    }
    --depth_;
  }

  // Reads and checks a value of any kind.
  void skip() {
    switch (peek()) {
      case '{': {
        std::vector<std::string_view> keys;
        object("a value", [&](std::string_view key) {
          keys.push_back(key);
          skip();
        });
        if (const auto twin = find_duplicate(keys)) fail_at(at_ - 1, "duplicate key " + quote(*twin));
        break;
      }
      case '[':
        array("a value", [&] { skip(); });
        break;
      case '"':
        string("a value");
        break;
      default:
        if (!accept_literal("true") && !accept_literal("false") && !accept_literal("null")) number_token("a value");
    }
  }

  // "byte N: message, got ..." at the current place.
  [[noreturn]] void fail_here(std::string message) {
    peek();
    message += at_ == text_.size() ? ", got the end of the text" : ", got " + quote(text_.substr(at_, 12), 12);
    fail_at(at_, message);
  }

  [[noreturn]] void fail_at(std::size_t position, const std::string& message) const {
    throw JsonError(concat_text({"byte ", offset_ + static_cast<Index>(position), ": ", message}));
  }

 private:
  static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
  static bool is_plain(char c) { return c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20; }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  void enter() {
    if (++depth_ > max_depth) fail_at(at_ - 1, "nested deeper than " + std::to_string(max_depth) + " levels");
  }

  void check_character() {
    if (static_cast<unsigned char>(text_[at_]) < 0x20)
      fail_at(at_, "expected an escape for a control character in a string");
    ++at_;
  }

  std::uint32_t hexadecimal() {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      if (is_digit(c))
        value = value * 16 + static_cast<std::uint32_t>(c - '0');
      else if (c >= 'a' && c <= 'f')
        value = value * 16 + static_cast<std::uint32_t>(c - 'a' + 10);
      else if (c >= 'A' && c <= 'F')
        value = value * 16 + static_cast<std::uint32_t>(c - 'A' + 10);
      else
        fail_at(at_, "expected four hexadecimal digits after \\u");
    }
    return value;
  }

  void append_escape(std::string& out) {
    const std::size_t begin = at_++;
    const char c = at_ < text_.size() ? text_[at_++] : '\0';
    switch (c) {
      case '"':
      case '\\':
      case '/':
        out += c;
        return;
      case 'b':
        out += '\b';
        return;
      case 'f':
        out += '\f';
        return;
      case 'n':
        out += '\n';
        return;
      case 'r':
        out += '\r';
        return;
      case 't':
        out += '\t';
        return;
      case 'u':
        break;
      default:
        fail_at(begin, "unknown escape in a string");
    }
    std::uint32_t code = hexadecimal();
    if (code >= 0xd800 && code <= 0xdfff) {
      if (code >= 0xdc00 || text_.substr(at_, 2) != "\\u") fail_at(begin, "a lone surrogate in a string");
      at_ += 2;
      const std::uint32_t low = hexadecimal();
      if (low < 0xdc00 || low > 0xdfff) fail_at(begin, "a lone surrogate in a string");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    const auto byte = [&](std::uint32_t value) { out += static_cast<char>(static_cast<unsigned char>(value)); };
    if (code < 0x80) {
      byte(code);
    } else if (code < 0x800) {
      byte(0xc0 | code >> 6), byte(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      byte(0xe0 | code >> 12), byte(0x80 | (code >> 6 & 0x3f)), byte(0x80 | (code & 0x3f));
    } else {
      byte(0xf0 | code >> 18), byte(0x80 | (code >> 12 & 0x3f)), byte(0x80 | (code >> 6 & 0x3f));
      byte(0x80 | (code & 0x3f));
    }
  }

  // -? (0 | [1-9][0-9]*) (.[0-9]+)? ([eE][+-]?[0-9]+)?
  std::string_view number_token(std::string_view what) {
    peek();
    const std::size_t begin = at_;
    const auto here = [&] { return at_ < text_.size() ? text_[at_] : '\0'; };
    const auto digits = [&] {
      if (!is_digit(here())) {
        if (at_ == begin) fail_here("expected a number for " + std::string(what));
        fail_at(at_, "expected a digit in a number");
      }
      while (is_digit(here())) ++at_;
    };
    if (here() == '-') ++at_;
    const std::size_t first = at_;
    digits();
    if (text_[first] == '0' && at_ > first + 1) fail_at(first, "a number with a leading zero");
    if (here() == '.') ++at_, digits();
    if (here() == 'e' || here() == 'E') {
      ++at_;
      if (here() == '+' || here() == '-') ++at_;
      digits();
    }
    return text_.substr(begin, at_ - begin);
  }

  std::string_view text_;
  Index offset_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::forward_list<std::string> unescaped_;
};
using Reader = BasicReader<>;

}  // namespace json

}  // namespace aulos::inline AULOS_ISA::io
