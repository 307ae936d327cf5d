#include "aulos/io/json_reader.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <forward_list>

#include <string>
#include <vector>

#include "tests/io/files.hpp"

namespace aulos::io::json {
namespace {

using aulos_tests::contains;
using aulos_tests::error_of;

TEST(JsonReader, WalksWithoutATree) {
  Reader reader(R"( {"a": [1, 22, 333], "b\n": "text", "c": -2.5e1, "d": {"e": [null, true, "x"]}} )");
  std::vector<Index> numbers;
  std::vector<std::string> keys;
  double real = 0;
  reader.object("a test", [&](std::string_view key) {
    keys.emplace_back(key);
    if (key == "a") {
      reader.array("numbers", [&] { numbers.push_back(reader.natural("a number")); });
    } else if (key == "c") {
      real = reader.number("a number").real;
    } else {
      reader.skip();
    }
  });
  reader.expect_end();
  EXPECT_EQ(numbers, (std::vector<Index>{1, 22, 333}));
  EXPECT_EQ(keys, (std::vector<std::string>{"a", "b\n", "c", "d"}));
  EXPECT_EQ(real, -25.0);
}

TEST(JsonReader, StringsWithoutEscapesAreViewsOfTheText) {
  const std::string text = R"("plain" )";
  Reader reader(text);
  const std::string_view value = reader.string("a value");
  EXPECT_EQ(value.data(), text.data() + 1);
}

TEST(JsonReader, UnescapedStringsOutliveTheReaderWhenTaken) {
  std::forward_list<std::string> kept;
  std::vector<std::string_view> values;
  {
    Reader reader(R"(["\u0041","\ud83c\udfb6","\/\"\\"])");
    reader.array("strings", [&] { values.push_back(reader.string("a string")); });
    kept = reader.take_strings();
  }
  EXPECT_EQ(values[0], "A");
  EXPECT_EQ(values[1], "\xf0\x9f\x8e\xb6");
  EXPECT_EQ(values[2], "/\"\\");
}

TEST(JsonReader, MessagesCountFromTheOffset) {
  EXPECT_TRUE(
      contains(error_of([] { Reader("x", 100).expect_end(); }), "byte 100: expected the end of the text, got 'x'"));
  EXPECT_TRUE(contains(error_of([] { Reader("ab\xff", 8); }), "byte 10: expected UTF-8"));
}

TEST(JsonReader, NaturalNumbersAreExact) {
  const auto natural = [](const char* text) {
    Reader reader(text);
    const Index value = reader.natural("n");
    reader.expect_end();
    return value;
  };
  EXPECT_EQ(natural("0"), 0);
  EXPECT_EQ(natural("9007199254740993"), 9007199254740993);
  EXPECT_EQ(natural(" 9223372036854775807 "), INT64_MAX);
  for (const char* bad :
       {"-0", "-1", "1.0", "1e1", "01", "00", "9223372036854775808", "99999999999999999999", "", "x", "0x1", "1 2"}) {
    EXPECT_NE(error_of([&] { natural(bad); }), "") << bad;
  }
}

TEST(JsonReader, NumbersAreIntegersWhereTheyFit) {
  const auto number = [](const char* text) { return Reader(text).number("n"); };
  EXPECT_EQ(number("-9223372036854775808").integer, INT64_MIN);
  EXPECT_EQ(number("7").integer, 7);
  EXPECT_EQ(number("0.1").real, 0.1);
  EXPECT_EQ(number("1E+2").real, 100.0);
  EXPECT_EQ(number("2.0").real, 2.0);
  EXPECT_EQ(number("18446744073709551616").real, 18446744073709551616.0);
  EXPECT_TRUE(std::signbit(number("-0").real));
  EXPECT_TRUE(contains(error_of([&] { number("1E400"); }), "number out of range of double: 1E400"));
}

TEST(JsonReader, SkipChecksWhatItSkips) {
  const auto skip = [](const std::string& text) {
    return error_of([&] {
      Reader reader(text);
      reader.skip();
      reader.expect_end();
    });
  };
  EXPECT_EQ(skip(R"({"a":[1,{"b":[]}],"c":"\n"})"), "");
  for (const char* bad : {"", "[", "[1,]", "{\"a\"}", "{\"a\":1,}", "tru", "nul", "[1 2]", "\"\t\"", "\"\\x\"", "1.",
                          "+1", "[1}", "'a'", "True", ".5"}) {
    EXPECT_NE(skip(bad), "") << bad;
  }
  EXPECT_TRUE(contains(skip(R"({"a":1,"b":2,"a":3})"), "duplicate key 'a'"));
  EXPECT_EQ(skip(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_TRUE(contains(skip(std::string(65, '[') + std::string(65, ']')), "nested deeper than 64 levels"));
}

TEST(JsonReader, FindDuplicate) {
  EXPECT_FALSE(find_duplicate({}));
  EXPECT_FALSE(find_duplicate({"a", "b", "ab"}));
  EXPECT_EQ(find_duplicate({"c", "a", "b", "a"}), "a");
}

}  // namespace
}  // namespace aulos::io::json
