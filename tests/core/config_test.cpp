#include "aulos/core/config.hpp"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <typeinfo>

namespace {

#define AULOS_TEST_TEXT_(x) #x
#define AULOS_TEST_TEXT(x) AULOS_TEST_TEXT_(x)

TEST(ConfigTest, IndexIsASigned64BitInteger) {
  static_assert(std::is_same_v<aulos::Index, std::int64_t>);
  static_assert(std::is_same_v<aulos::Index, aulos::AULOS_ISA::Index>, "the tag is an inline namespace");
}

TEST(ConfigTest, VersionMacrosAreNumbers) {
  static_assert(AULOS_VERSION_MAJOR >= 0 && AULOS_VERSION_MINOR >= 0 && AULOS_VERSION_PATCH >= 0);
#if AULOS_VERSION_MAJOR * 10000 + AULOS_VERSION_MINOR * 100 + AULOS_VERSION_PATCH < 100
  FAIL() << "the preprocessor must be able to compare versions";
#endif
}

TEST(ConfigTest, TagNamesInstructionSetMathAndAssertLevel) {
  const std::string tag = AULOS_TEST_TEXT(AULOS_ISA);
  EXPECT_EQ(tag.find("AULOS"), std::string::npos) << tag << " holds a macro that was not expanded";
  EXPECT_TRUE(tag.ends_with("_assert" AULOS_TEST_TEXT(AULOS_ASSERT_LEVEL))) << tag;
#if defined(__FAST_MATH__)
  EXPECT_NE(tag.find("_fast_"), std::string::npos) << tag;
#else
  EXPECT_NE(tag.find("_ieee_"), std::string::npos) << tag;
#endif
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
  EXPECT_EQ(tag.find("avx512"), 0U) << tag;
#elif defined(__AVX2__) && defined(__FMA__)
  EXPECT_EQ(tag.find("avx2"), 0U) << tag;
#elif defined(__aarch64__) && !defined(__ARM_FEATURE_SVE)
  EXPECT_EQ(tag.find("neon64"), 0U) << tag;
#endif
}

}  // namespace
