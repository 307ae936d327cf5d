#include "aulos/core/span.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace {

TEST(Span, OfAVectorIsItsElements) {
  const std::vector<int> values{1, 2, 3};
  const auto span = aulos::as_span(values);
  EXPECT_EQ(span.data(), values.data());
  EXPECT_EQ(span.size(), 3u);
  EXPECT_TRUE(aulos::as_span(std::vector<int>()).empty());
}

TEST(Span, BytesOfATextAreItsCharactersWithoutTheEnd) {
  std::string text = "a\xff";
  const auto bytes = aulos::as_bytes(std::string_view(text));
  ASSERT_EQ(bytes.size(), 2u);
  EXPECT_EQ(bytes[0], std::byte{'a'});
  EXPECT_EQ(bytes[1], std::byte{0xff});
  aulos::as_bytes(text)[0] = std::byte{'b'};
  EXPECT_EQ(text, "b\xff");
}

}  // namespace
