// Texts put together from pieces.
#include "aulos/core/text.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace {

using aulos::concat_text;
using aulos::Dims;
using aulos::Shape;

TEST(ConcatText, TakesTextsNumbersAndExtents) {
  const std::string owned = "owned";
  const std::string_view part = std::string_view("a part of this").substr(2, 4);
  Dims dims;
  dims.rank = 2;
  dims.extent[0] = 7;
  dims.extent[1] = 0;
  EXPECT_EQ(concat_text({"q ", dims, " and ", owned, ", ", part, ": ", 3, " != ", std::size_t{4}, ", ", Shape<1>{5}}),
            "q [7, 0] and owned, part: 3 != 4, [5]");
}

TEST(ConcatText, WritesTheEndsOfTheNumbers) {
  EXPECT_EQ(concat_text({std::numeric_limits<std::int64_t>::min(), " ", std::numeric_limits<std::int64_t>::max()}),
            "-9223372036854775808 9223372036854775807");
  EXPECT_EQ(concat_text({std::numeric_limits<std::uint64_t>::max()}), "18446744073709551615");
  EXPECT_EQ(concat_text({std::uint8_t{200}, " ", std::int32_t{-1}}), "200 -1");
}

TEST(ConcatText, NothingIsEmpty) {
  EXPECT_EQ(concat_text({}), "");
  EXPECT_EQ(concat_text({"", std::string()}), "");
}

}  // namespace
