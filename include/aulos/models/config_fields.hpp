// What the configurations of models share. A configuration lists its fields once, fields(config, f) calling
// f("name", member) for each and f("name", member, spellings) for an enum; reading, writing and checking walk that
// list.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/json.hpp"

namespace aulos::inline AULOS_ISA::models {

// How JSON spells a value of an enum; null where the text is empty.
template <class E>
struct Spelling {
  E value;
  std::string_view text;
};

namespace detail {

// "qk_norm is "x", expected null or "rms_norm"".
template <class E>
E parse(const char* model, const char* field, const io::json::Value& json, std::span<const Spelling<E>> spellings) {
  const std::string text = json.is_null() ? "" : json.as<std::string>(field);
  std::string expected;
  for (const Spelling<E>& spelling : spellings) {
    if (spelling.text == text) return spelling.value;
    expected += expected.empty() ? "" : " or ";
    expected += spelling.text.empty() ? "null" : '"' + std::string(spelling.text) + '"';
  }
  throw ConfigError(std::string(model) + ": " + field + " is \"" + text + "\", expected " + expected);
}

}  // namespace detail

// Sets the fields that the object has; the others keep their values. Fields of other names are passed over.
class FieldReader {
 public:
  FieldReader(const char* model, const io::json::Value& json) : model_(model), json_(json) {}

  template <class V>
  void operator()(const char* name, V& value) const {
    value = json_.get_or<V>(name, value);
  }
  // A number or null.
  void operator()(const char* name, std::optional<double>& value) const {
    const io::json::Value* found = json_.find(name);
    if (found == nullptr) return;
    value = found->is_null() ? std::nullopt : std::optional(found->as<double>(name));
  }
  template <class E, std::size_t Count>
  void operator()(const char* name, E& value, const Spelling<E> (&spellings)[Count]) const {
    if (const io::json::Value* found = json_.find(name))
      value = detail::parse<E>(model_, name, *found, std::span<const Spelling<E>>(spellings));
  }

 private:
  const char* model_;
  const io::json::Value& json_;
};

// Writes every field into an object that has been begun.
class FieldWriter {
 public:
  explicit FieldWriter(io::json::Writer& json) : json_(json) {}

  template <class V>
  void operator()(const char* name, const V& value) const {
    json_.key(name);
    json_.value(value);
  }
  void operator()(const char* name, const std::optional<double>& value) const {
    json_.key(name);
    if (value)
      json_.value(*value);
    else
      json_.null();
  }
  template <class E, std::size_t Count>
  void operator()(const char* name, const E& value, const Spelling<E> (&spellings)[Count]) const {
    json_.key(name);
    for (const Spelling<E>& spelling : spellings) {
      if (spelling.value != value) continue;
      spelling.text.empty() ? json_.null() : json_.value(spelling.text);
      return;
    }
    json_.null();
  }

 private:
  io::json::Writer& json_;
};

// ConfigError for the first extent or count that is below 1.
class FieldChecker {
 public:
  explicit FieldChecker(const char* model) : model_(model) {}

  template <class V, class... Spellings>
  void operator()(const char*, const V&, const Spellings&...) const {}
  void operator()(const char* name, const Index& value) const {
    if (value < 1)
      throw ConfigError(std::string(model_) + ": " + name + " is " + std::to_string(value) + ", expected >= 1");
  }

 private:
  const char* model_;
};

// A configuration with a `name` and fields alone, from JSON: absent fields keep their defaults.
template <class Config>
Config config_of_fields(const io::json::Value& json) {
  Config c;
  Config::fields(c, FieldReader(Config::name, json));
  return c.checked();
}

// The same as JSON.
template <class Config>
std::string json_of_fields(const Config& config) {
  io::json::Writer json;
  json.begin_object();
  Config::fields(config, FieldWriter(json));
  json.end_object();
  return json.take();
}

// ConfigError unless `value` is a multiple of `divisor`, to which `of` gives its name: "num_heads = ", or nothing.
inline void check_multiple(const char* model, const char* field, Index value, const char* of, Index divisor) {
  if (value % divisor != 0)
    throw ConfigError(std::string(model) + ": " + field + " is " + std::to_string(value) + ", expected a multiple of " +
                      of + std::to_string(divisor));
}

}  // namespace aulos::inline AULOS_ISA::models
