#include "aulos/core/scope.hpp"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

namespace {

using aulos::Scope;
using aulos::ScopeStack;

static_assert(!std::is_copy_constructible_v<Scope> && !std::is_move_constructible_v<Scope>);

TEST(Scope, NamesWhereOneIs) {
  ScopeStack stack;
  EXPECT_TRUE(stack.empty());
  EXPECT_EQ(stack.text(), "");
  {
    const Scope blocks(stack, "transformer_blocks", 3);
    EXPECT_FALSE(stack.empty());
    EXPECT_EQ(stack.text(), "transformer_blocks.3");
    {
      const Scope attention(stack, "attn");
      EXPECT_EQ(stack.text(), "transformer_blocks.3.attn");
    }
    const Scope first(stack, "ff", 0);
    EXPECT_EQ(stack.text(), "transformer_blocks.3.ff.0");
  }
  EXPECT_TRUE(stack.empty());
}

TEST(Scope, EndsWithAnException) {
  ScopeStack stack;
  try {
    const Scope scope(stack, "a");
    throw 1;
  } catch (int) {
  }
  EXPECT_TRUE(stack.empty());
}

TEST(Scope, WhatIsTooDeepIsNotNamed) {
  ScopeStack stack;
  for (int i = 0; i < 40; ++i) stack.push("x", i);
  std::string expected = "x.0";
  for (int i = 1; i < 16; ++i) expected += ".x." + std::to_string(i);
  EXPECT_EQ(stack.text(), expected);
  for (int i = 0; i < 38; ++i) stack.pop();
  EXPECT_EQ(stack.text(), "x.0.x.1");
  stack.pop();
  stack.pop();
  EXPECT_TRUE(stack.empty());
}

}  // namespace
