#include "aulos/io/text.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace aulos::io {
namespace {

TEST(Text, QuoteEscapesWhatATerminalActsOn) {
  EXPECT_EQ(quote("fc1.weight"), "'fc1.weight'");
  EXPECT_EQ(quote("a\x1b[31mb"), "'a\\u{001b}[31mb'");
  EXPECT_EQ(quote("a\nb\tc\rd"), "'a\\nb\\tc\\u{000d}d'");
  EXPECT_EQ(quote(std::string_view("\0\x7f", 2)), "'\\u{0000}\\u{007f}'");
  EXPECT_EQ(quote("\xc2\x9b"), "'\\u{009b}'");      // C1 control sequence introducer
  EXPECT_EQ(quote("\xe2\x80\xae"), "'\\u{202e}'");  // right-to-left override
  EXPECT_EQ(quote("\xe2\x80\xa8"), "'\\u{2028}'");  // line separator
  EXPECT_EQ(quote("\xff\x80"), "'\\xff\\x80'");     // not UTF-8
  EXPECT_EQ(quote("\xc3\xa9\xe2\x82\xac"), "'\xc3\xa9\xe2\x82\xac'");
}

TEST(Text, QuoteCutsBetweenCharacters) {
  EXPECT_EQ(quote(std::string(300, 'x'), 10), "'xxxxxxxxxx... (300 bytes)'");
  EXPECT_EQ(quote("abc", 3), "'abc'");
  EXPECT_EQ(quote("ab\xe2\x82\xac", 3), "'ab\xe2\x82\xac'");
}

TEST(Text, Utf8ValidPrefixFindsTheFirstBadByte) {
  const std::string filler(19, 'x');
  EXPECT_EQ(detail::utf8_valid_prefix(""), 0u);
  EXPECT_EQ(detail::utf8_valid_prefix(filler), 19u);
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x8e", "\xc3(", "\xe2(\xa1"}) {
    EXPECT_EQ(detail::utf8_valid_prefix(filler + bad + filler), 19u) << quote(bad);
    EXPECT_EQ(detail::utf8_valid_prefix(filler + bad), 19u) << quote(bad);
  }
  for (const char* good : {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    const std::string text = filler + good + filler;
    EXPECT_EQ(detail::utf8_valid_prefix(text), text.size()) << quote(good);
  }
}

TEST(Text, ShapeText) {
  EXPECT_EQ(shape_text({}), "[]");
  const std::vector<Index> shape = {2, 0, 3};
  EXPECT_EQ(shape_text(shape), "[2, 0, 3]");
}

// The whole table of the textbook.
Index naive_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<Index>> d(a.size() + 1, std::vector<Index>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = static_cast<Index>(i);
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = static_cast<Index>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1] ? 1 : 0)});
    }
  }
  return d[a.size()][b.size()];
}

TEST(Text, EditDistanceEqualsTheFullTable) {
  EXPECT_EQ(edit_distance("kitten", "sitting", 10), 3);
  EXPECT_EQ(edit_distance("", "", 0), 0);
  EXPECT_EQ(edit_distance("", "abc", 3), 3);
  std::mt19937 random(3);
  for (int n = 0; n < 20000; ++n) {
    std::string a(random() % 12, ' ');
    std::string b(random() % 12, ' ');
    for (char& c : a) c = static_cast<char>('a' + random() % 3);
    for (char& c : b) c = static_cast<char>('a' + random() % 3);
    const Index expected = naive_distance(a, b);
    for (const Index limit : {0, 1, 2, 3, 5, 12}) {
      ASSERT_EQ(edit_distance(a, b, limit), std::min(expected, limit + 1)) << a << " " << b << " " << limit;
    }
  }
}

TEST(Text, NearestFindsTheClosestOrNothing) {
  const std::vector<std::string_view> names = {"fc1.bias", "fc2.weight", "fc1.wieght", "norm.weight"};
  Index budget = 1'000'000;
  EXPECT_EQ(nearest("fc1.weight", names, budget), 1);  // one substitution beats two
  EXPECT_EQ(nearest("fc1.wieghts", names, budget), 2);
  EXPECT_EQ(nearest("fc1.bias", names, budget), 0);
  EXPECT_EQ(nearest("transformer.embedding", names, budget), -1);
  EXPECT_EQ(nearest("x", {}, budget), -1);
  budget = 0;
  EXPECT_EQ(nearest("fc1.bias", names, budget), -1);
}

}  // namespace
}  // namespace aulos::io
