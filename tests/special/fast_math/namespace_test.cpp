#include <gtest/gtest.h>

#include <string_view>

#include "aulos/core/config.hpp"

namespace {

#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x

// Objects built with and without -ffast-math may be linked into one program.
TEST(FastMath, IsPartOfTheNamespace) {
  EXPECT_NE(std::string_view(TEXT(AULOS_ISA)).find("_fast_"), std::string_view::npos) << TEXT(AULOS_ISA);
}

}  // namespace
