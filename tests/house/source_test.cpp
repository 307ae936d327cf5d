// The reader of the house's rules is itself tested on small texts.
#include "tests/house/source.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using aulos_tests::read_source;
using aulos_tests::scope_faults;

TEST(HouseSource, FindsIncludes) {
  const auto source = read_source(
      "#include <vector>\n"
      "  #  include \"aulos/core/error.hpp\"  // why\n"
      "// #include <regex>\n"
      "/* #include <regex>\n"
      "#include <regex> */\n"
      "const char* text = \"\\n#include <regex>\";\n"
      "auto raw = R\"x(\n#include <regex>\n)x\";\n"
      "#define A \\\n#include <regex>\n"
      "int million = 1'000'000;\n"
      "#include <array>\n");
  ASSERT_EQ(source.includes.size(), 3U);
  EXPECT_EQ(source.includes[0].path, "vector");
  EXPECT_FALSE(source.includes[0].quoted);
  EXPECT_EQ(source.includes[1].path, "aulos/core/error.hpp");
  EXPECT_TRUE(source.includes[1].quoted);
  EXPECT_EQ(source.includes[1].line, 2);
  EXPECT_EQ(source.includes[2].path, "array");
  EXPECT_EQ(source.includes[2].line, 13);
  EXPECT_EQ(source.lines, 13);
}

TEST(HouseSource, AcceptsWhatBelongsInAHeader) {
  const std::string good[] = {
      "",
      "inline int f() { static int calls = 0; return ++calls; }",
      "struct S { static int f(); static inline int x = 0; int y = 0; } ;",
      "inline constexpr int x = 1;",
      "inline const int x = 1;",
      "inline const char* const names[] = {\"a\", \"b\"};",
      "template <class T = int> inline constexpr int lanes = sizeof(T);",
      "template <class T> requires(sizeof(T) > 1) inline T f(T x = {}) { return x; }",
      "template <class T> requires requires(T t) { t.f(); } void f(T) {}",
      "template <class T> void f(T) requires requires(T t) { t.f(); } {}",
      "template <class T> concept C = requires(T t) { t(); t + 1; };",
      "enum class E : int { a, b = 2 };",
      "class Forward;",
      "template <class R, class... A> class F<R(A...)> { int x = 0; };",
      "using A = int; typedef int B; static_assert(sizeof(int) == 4);",
      "namespace a::inline b::c { inline void f(); namespace d = a; }  // namespace a::b::c",
      "inline bool operator==(const S& a, const S& b) { return a.x == b.x; }",
      "inline S& operator+=(S& a, int b) { return a; }",
      "inline S::S(int a) : x{a}, y(a), z{1} { x = 2; }",
      "template <class T> S(T) -> S<T>;",
      "extern template class S<int>; template class S<double>;",
      "extern \"C\" { void f(); }",
      "[[nodiscard]] inline auto f() -> int { return 0; }",
      "inline constexpr auto add = [](auto a, auto b) { return a + b; };",
      "constexpr int table[] = {1, 2, 3};",
      "inline std::string f(char c = '\"') { return \"static int x;\"; }  // static int x;",
  };
  for (const auto& text : good) {
    for (const auto& fault : scope_faults(read_source(text))) ADD_FAILURE() << text << "\n" << fault;
    // The same behind another declaration and inside a namespace.
    const auto nested = "namespace n {\nint f();\n" + text + "\n}\nint g();";
    for (const auto& fault : scope_faults(read_source(nested))) ADD_FAILURE() << nested << "\n" << fault;
  }
}

TEST(HouseSource, FindsWhatDoesNot) {
  const std::string bad[] = {
      "static int f() { return 0; }",
      "static constexpr int x = 0;",
      "template <class T> static T f(T x) { return x; }",
      "[[maybe_unused]] static void f();",
      "namespace { int f(); }",
      "inline namespace { int f(); }",
      "inline int x = 0;",
      "inline int x{0};",
      "int x;",
      "inline thread_local bool nested = false;",
      "inline std::atomic<int> count{0};",
      "template <class T> inline T cache = {};",
      "inline const char* name = \"a\";",
      "inline std::map<int, int> table = {{1, 2}, {3, 4}};",
      "inline std::vector<std::string> names;",
  };
  for (const auto& text : bad) {
    EXPECT_EQ(scope_faults(read_source(text)).size(), 1U) << text;
    const auto nested =
        "namespace n {\nstruct S { int x; };\ninline void f() { if (true) {} }\n" + text + "\n}\nint g();";
    EXPECT_EQ(scope_faults(read_source(nested)).size(), 1U) << nested;
  }
}

}  // namespace
