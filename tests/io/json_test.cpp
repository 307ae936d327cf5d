#include "aulos/io/json.hpp"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "tests/io/files.hpp"

namespace aulos::io {
namespace {

using aulos_tests::contains;
using aulos_tests::error_of;

static_assert(!std::is_constructible_v<json::Value, const void*>);

// The shape of a published configuration.
const char* const config_text = R"({
  "_class_name": "SD3Transformer2DModel", "num_layers": 24, "scale": 1.5, "qk_norm": null, "dual": true,
  "layers": [0, 1, 2], "nested": {"depth": 2}, "big": 18446744073709551616, "pi": 3.0, "name\u0020x": ""
})";

TEST(Json, ReadsAConfiguration) {
  const json::Value config = json::parse(config_text);
  EXPECT_EQ(config.get<std::string>("_class_name"), "SD3Transformer2DModel");
  EXPECT_EQ(config.get<Index>("num_layers"), 24);
  EXPECT_EQ(config.get<double>("num_layers"), 24.0);
  EXPECT_EQ(config.get<double>("scale"), 1.5);
  EXPECT_TRUE(config.get<bool>("dual"));
  EXPECT_EQ(config.find("layers")->items()[2].as<Index>(), 2);
  EXPECT_EQ(config.find("nested")->get<Index>("depth"), 2);
  EXPECT_EQ(config.get<double>("big"), 18446744073709551616.0);
  EXPECT_EQ(config.get<std::string>("name x"), "");
  EXPECT_EQ(config.find("absent"), nullptr);
  EXPECT_TRUE(config.find("qk_norm")->is_null());
  EXPECT_EQ(config.members().front().first, "_class_name");
}

TEST(Json, AbsentAndNullGiveTheFallback) {
  const json::Value config = json::parse(config_text);
  EXPECT_EQ(config.get_or<std::string>("qk_norm", "none"), "none");
  EXPECT_EQ(config.get_or<Index>("absent", 7), 7);
  EXPECT_EQ(config.get_or<Index>("num_layers", 7), 24);
}

TEST(Json, WrongKindsNameTheField) {
  const json::Value config = json::parse(config_text);
  const auto message = [&](auto&& fn) { return error_of([&] { fn(); }); };
  EXPECT_EQ(message([&] { config.get<Index>("scale"); }), "field 'scale': expected an integer, got a number");
  EXPECT_EQ(message([&] { config.get<Index>("pi"); }), "field 'pi': expected an integer, got a number");
  EXPECT_EQ(message([&] { config.get<Index>("big"); }), "field 'big': expected an integer, got a number");
  EXPECT_EQ(message([&] { config.get<bool>("num_layers"); }), "field 'num_layers': expected a boolean, got an integer");
  EXPECT_EQ(message([&] { config.get<std::string>("qk_norm"); }), "field 'qk_norm': expected a string, got null");
  EXPECT_EQ(message([&] { config.get<double>("absent"); }), "field 'absent': expected a number, got nothing");
  EXPECT_EQ(message([&] { config.get_or<Index>("dual", 1); }), "field 'dual': expected an integer, got a boolean");
  EXPECT_EQ(message([&] { config.find("dual")->items("dual"); }), "field 'dual': expected an array, got a boolean");
  EXPECT_EQ(message([&] { config.find("layers")->members("layers"); }),
            "field 'layers': expected an object, got an array");
  EXPECT_THROW(config.get<Index>("absent"), ConfigError);
}

TEST(Json, RefusesWhatTheStandardForbids) {
  for (const char* bad : {"",          " ",           "{",
                          "}",         "[1,2",        "{\"a\":1,}",
                          "[,]",       "{\"a\" 1}",   "nan",
                          "NaN",       "Infinity",    "-",
                          "01",        "1.",          ".1",
                          "+1",        "'a'",         "\"a",
                          "\"\\u12\"", "\"\\ud800\"", "\"\n\"",
                          "tru",       "TRUE",        "null x",
                          "{} {}",     "// c\n1",     "\xef\xbb\xbf{}",
                          "\"\xff\"",  "{1:2}",       "{\"a\":1 \"b\":2}",
                          "[1e]",      "[1e+]",       "1e999",
                          "[\v1]"}) {
    EXPECT_NE(error_of([&] { json::parse(bad); }), "") << bad;
    EXPECT_THROW(json::parse(bad), JsonError) << bad;
  }
}

TEST(Json, DuplicateKeysAreNamed) {
  EXPECT_TRUE(contains(error_of([] { json::parse(R"({"a":1,"b":{"x":1,"y":2,"x":3}})"); }), "duplicate key 'x'"));
  EXPECT_TRUE(contains(error_of([] { json::parse(R"({"a":1,"\u0061":2})"); }), "duplicate key 'a'"));
}

TEST(Json, DepthIsLimited) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(error_of([&] { json::parse(nested(64)); }), "");
  EXPECT_TRUE(contains(error_of([&] { json::parse(nested(65)); }), "nested deeper than 64 levels"));
  EXPECT_TRUE(contains(error_of([&] { json::parse(nested(1'000'000)); }), "nested deeper"));
}

TEST(Json, EveryTruncationIsAnError) {
  const std::string text = R"({"a":[1,2.5,"x\u00e9",null,true],"b":{"c":-1e3}})";
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_THROW(json::parse(std::string(text, 0, size)), JsonError) << size;
  }
  EXPECT_TRUE(json::parse(text).is_object());
}

}  // namespace
}  // namespace aulos::io
