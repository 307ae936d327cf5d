#include "aulos/core/error.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <type_traits>

namespace {

template <class E>
class ErrorHierarchyTest : public testing::Test {};
using Kinds = testing::Types<aulos::ShapeError, aulos::CheckpointError, aulos::ConfigError>;
TYPED_TEST_SUITE(ErrorHierarchyTest, Kinds);

TYPED_TEST(ErrorHierarchyTest, IsCaughtAsItselfAsErrorAndAsStandardException) {
  const auto fail = [] { throw TypeParam("linear: got 3, expected 4"); };
  EXPECT_THROW(fail(), TypeParam);
  EXPECT_THROW(fail(), aulos::Error);
  EXPECT_THROW(fail(), std::runtime_error);
  try {
    fail();
  } catch (const std::exception& error) {
    EXPECT_STREQ(error.what(), "linear: got 3, expected 4");
  }
}

TYPED_TEST(ErrorHierarchyTest, IsNotCaughtAsItsSiblings) {
  const auto kinds = [](auto... same) { return (int{same} + ...); };
  EXPECT_EQ(kinds(std::is_base_of_v<aulos::ShapeError, TypeParam>, std::is_base_of_v<aulos::CheckpointError, TypeParam>,
                  std::is_base_of_v<aulos::ConfigError, TypeParam>),
            1);
}

TYPED_TEST(ErrorHierarchyTest, CopiesWithoutThrowing) {
  static_assert(std::is_nothrow_copy_constructible_v<TypeParam>);
  static_assert(std::is_constructible_v<TypeParam, const char*> && std::is_constructible_v<TypeParam, std::string>);
}

TEST(ErrorTest, IsNoChildOfItsChildren) {
  static_assert(std::is_base_of_v<std::runtime_error, aulos::Error>);
  try {
    throw aulos::Error("what, where, expected, got");
  } catch (const aulos::ShapeError&) {
    FAIL();
  } catch (const aulos::Error& error) {
    EXPECT_STREQ(error.what(), "what, where, expected, got");
  }
}

}  // namespace
