// JSON as a small value tree, for configurations. It brings the reader and the writer along.
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/json_reader.hpp"
#include "aulos/io/json_writer.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

namespace json {

// A parsed value: null, true/false, an integer, another number, a string, an array or an object in the order written.
class Value {
 public:
  using Array = std::vector<Value>;
  using Object = std::vector<std::pair<std::string, Value>>;

  Value() = default;
  Value(std::same_as<bool> auto value) : kind_(Kind::boolean), integer_(value) {}  // no pointer becomes true
  Value(Index value) : kind_(Kind::integer), integer_(value) {}
  Value(double value) : kind_(Kind::number), number_(value) {}
  Value(std::string value) : kind_(Kind::string), string_(std::move(value)) {}
  Value(Array value) : kind_(Kind::array), array_(std::move(value)) {}
  Value(Object value) : kind_(Kind::object), object_(std::move(value)) {}

  bool is_null() const { return kind_ == Kind::null; }
  bool is_bool() const { return kind_ == Kind::boolean; }
  bool is_int() const { return kind_ == Kind::integer; }
  bool is_number() const { return is_int() || kind_ == Kind::number; }
  bool is_string() const { return kind_ == Kind::string; }
  bool is_array() const { return kind_ == Kind::array; }
  bool is_object() const { return kind_ == Kind::object; }
  const char* kind() const {
    constexpr const char* names[] = {"null",     "a boolean", "an integer", "a number",
                                     "a string", "an array",  "an object"};
    return names[static_cast<int>(kind_)];
  }

  // bool, Index, double (from an integer too), std::string, Array, Object. ConfigError with `field` if it is another
  // kind; 2.0 is no integer.
  template <class T>
  T as(std::string_view field = "value") const {
    if constexpr (std::is_same_v<T, bool>) {
      if (is_bool()) return integer_ != 0;
    } else if constexpr (std::is_same_v<T, Index>) {
      if (is_int()) return integer_;
    } else if constexpr (std::is_same_v<T, double>) {
      if (is_int()) return static_cast<double>(integer_);
      if (is_number()) return number_;
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (is_string()) return string_;
    } else if constexpr (std::is_same_v<T, Array>) {
      if (is_array()) return array_;
    } else {
      if (is_object()) return object_;
    }
    throw ConfigError(concat_text({"field ", quote(field), ": expected ", expected_kind<T>(), ", got ", kind()}));
  }

  // The elements; ConfigError if it isn't an array.
  const Array& items(std::string_view field = "value") const {
    if (is_array()) return array_;
    throw ConfigError(concat_text({"field ", quote(field), ": expected an array, got ", kind()}));
  }

  // The members in the order written; ConfigError if it isn't an object.
  const Object& members(std::string_view field = "value") const {
    if (is_object()) return object_;
    throw ConfigError(concat_text({"field ", quote(field), ": expected an object, got ", kind()}));
  }

  // The member, nullptr if absent or if this isn't an object.
  const Value* find(std::string_view key) const {
    for (const auto& member : object_) {
      if (member.first == key) return &member.second;
    }
    return nullptr;
  }

  template <class T>
  T get(std::string_view key) const {
    if (const Value* value = find(key)) return value->as<T>(key);
    throw ConfigError(concat_text({"field ", quote(key), ": expected ", expected_kind<T>(), ", got nothing"}));
  }

  // Absent and null give the fallback; another kind is an error all the same.
  template <class T>
  T get_or(std::string_view key, T fallback) const {
    const Value* value = find(key);
    return value == nullptr || value->is_null() ? std::move(fallback) : value->as<T>(key);
  }

 private:
  template <class T>
  static constexpr const char* expected_kind() {
    if constexpr (std::is_same_v<T, bool>)
      return "a boolean";
    else if constexpr (std::is_same_v<T, Index>)
      return "an integer";
    else if constexpr (std::is_same_v<T, double>)
      return "a number";
    else if constexpr (std::is_same_v<T, std::string>)
      return "a string";
    else if constexpr (std::is_same_v<T, Array>)
      return "an array";
    else
      return "an object";
  }

  enum class Kind : std::uint8_t { null, boolean, integer, number, string, array, object };

  Kind kind_ = Kind::null;
  Index integer_ = 0;
  double number_ = 0;
  std::string string_;
  Array array_;
  Object object_;
};

namespace detail {

template <class = Deferred>
Value read_value(Reader& reader) {
  switch (reader.peek()) {
    case '{': {
      Value::Object members;
      reader.object("a value", [&](std::string_view key) {
        std::string owned(key);
        members.emplace_back(std::move(owned), read_value(reader));
      });
      std::vector<std::string_view> keys;
      keys.reserve(members.size());
      for (const auto& member : members) keys.push_back(member.first);
      if (const auto twin = find_duplicate(keys)) {
        reader.fail_at(static_cast<std::size_t>(reader.position()) - 1, "duplicate key " + quote(*twin));
      }
      return members;
    }
    case '[': {
      Value::Array items;
      reader.array("a value", [&] { items.push_back(read_value(reader)); });
      return items;
    }
    case '"':
      return std::string(reader.string("a value"));
    default: {
      if (reader.accept_literal("true")) return true;
      if (reader.accept_literal("false")) return false;
      if (reader.accept_literal("null")) return {};
      const Number number = reader.number("a value");
      return number.is_integer ? Value(number.integer) : Value(number.real);
    }
  }
}

}  // namespace detail

// One value and nothing after it. JsonError on anything that RFC 8259 or UTF-8 forbids, on duplicate keys, and on more
// than max_depth levels.
template <class = Deferred>
Value parse(std::string_view text) {
  Reader reader(text);
  Value value = detail::read_value(reader);
  reader.expect_end();
  return value;
}

}  // namespace json

}  // namespace aulos::inline AULOS_ISA::io
