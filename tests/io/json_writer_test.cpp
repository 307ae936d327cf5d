#include "aulos/io/json_writer.hpp"

#include <gtest/gtest.h>

#include <clocale>

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <locale>
#include <string>

#include "aulos/io/json.hpp"

namespace aulos::io::json {
namespace {

TEST(JsonWriter, PutsCommasAndNestings) {
  Writer writer;
  writer.begin_object().key("a").value(1).key("b").begin_array().value(true).null().value("x").end_array();
  writer.key("c")
      .begin_object()
      .end_object()
      .key("d")
      .begin_array()
      .begin_array()
      .end_array()
      .value(0.5)
      .end_array()
      .end_object();
  EXPECT_EQ(writer.take(), R"({"a":1,"b":[true,null,"x"],"c":{},"d":[[],0.5]})");
}

TEST(JsonWriter, NumbersReadBackToTheSameValue) {
  const auto text = [](auto number) { return Writer().value(number).take(); };
  EXPECT_EQ(text(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(text(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(text(0.1f), "0.1");
  EXPECT_EQ(text(1000000), "1000000");
  for (const double value : {0.1, 1.0 / 3, 1e300, 5e-324, -0.0, 123456789.125}) {
    EXPECT_EQ(std::strtod(text(value).c_str(), nullptr), value) << text(value);
  }
  EXPECT_EQ(text(std::numeric_limits<double>::quiet_NaN()), "null");
  EXPECT_EQ(text(-std::numeric_limits<float>::infinity()), "null");
}

TEST(JsonWriter, StringsReadBackToTheSameText) {
  std::string text;
  for (int c = 0; c < 128; ++c) text += static_cast<char>(c);
  text += "\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xb6";
  const std::string written = Writer().value(text).take();
  EXPECT_EQ(parse(written).as<std::string>(), text);
  EXPECT_EQ(Writer().value("a\"\\\n\x01").take(), R"("a\"\\\n\u0001")");
}

struct DecimalComma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(JsonWriter, IgnoresTheLocale) {
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new DecimalComma));
  const char* const c_before = setlocale(LC_ALL, nullptr);
  const std::string saved = c_before == nullptr ? "C" : c_before;
  setlocale(LC_ALL, "de_DE.UTF-8");  // where installed
  const std::string text = Writer().begin_array().value(1000000).value(0.5).end_array().take();
  const Value value = parse("[1000000, 0.5]");
  setlocale(LC_ALL, saved.c_str());
  std::locale::global(before);
  EXPECT_EQ(text, "[1000000,0.5]");
  EXPECT_EQ(value.items()[0].as<Index>(), 1000000);
  EXPECT_EQ(value.items()[1].as<double>(), 0.5);
}

}  // namespace
}  // namespace aulos::io::json
