// The frame of every program: exit statuses, one line per error, numbers.
#include "common/cli.hpp"

#include <gtest/gtest.h>

#include <clocale>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <locale>
#include <string>
#include <vector>

namespace {

using namespace aulos_examples;

struct Outcome {
  int status;
  std::string output, error;
};

struct Arguments {
  double guidance = 4.5;
  int steps = 30;
  std::uint64_t seed = 0;
};

template <class Body>
Outcome run(std::vector<std::string> words, Arguments& arguments, const Body& body) {
  CLI::App app("Draws.", "draw");
  add_number(app, "--guidance", arguments.guidance, 0, 50, "strength");
  add_number(app, "--steps", arguments.steps, 1, 1000, "steps");
  add_number(app, "--seed", arguments.seed, 0, std::numeric_limits<std::uint64_t>::max(), "seed");
  words.insert(words.begin(), "draw");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = run_program(app, static_cast<int>(argv.size()), argv.data(), body);
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

Outcome run(std::vector<std::string> words, Arguments& arguments) {
  return run(std::move(words), arguments, [] { return kSuccess; });
}

TEST(Cli, ReadsNumbers) {
  Arguments arguments;
  const Outcome outcome = run({"--guidance", "7.5", "--steps=12", "--seed", "18446744073709551615"}, arguments);
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(arguments.guidance, 7.5);
  EXPECT_EQ(arguments.steps, 12);
  EXPECT_EQ(arguments.seed, std::numeric_limits<std::uint64_t>::max());
}

TEST(Cli, BadArgumentsAreOneLineAndStatus2) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--guidance", "7,5"}, "--guidance: expected a number from 0 to 50, got '7,5'"},
      {{"--guidance", "7.5x"}, "--guidance: expected a number from 0 to 50, got '7.5x'"},
      {{"--guidance", "nan"}, "--guidance: expected a number from 0 to 50, got 'nan'"},
      {{"--guidance", "inf"}, "--guidance: expected a number from 0 to 50, got 'inf'"},
      {{"--guidance", "51"}, "--guidance: expected a number from 0 to 50, got '51'"},
      {{"--guidance", "-1"}, "--guidance: expected a number from 0 to 50, got '-1'"},
      {{"--guidance="}, "--guidance"},
      {{"--steps", "0"}, "--steps: expected a whole number from 1 to 1000, got '0'"},
      {{"--steps", "3.5"}, "--steps: expected a whole number from 1 to 1000, got '3.5'"},
      {{"--steps", "99999999999999999999"}, "got '99999999999999999999'"},
      {{"--steps"}, "--steps"},
      {{"--seed", "18446744073709551616"}, "--seed: expected a whole number from 0 to 18446744073709551615"},
      {{"--unknown"}, "--unknown"},
      {{"surplus"}, "surplus"}};
  for (const auto& [words, message] : cases) {
    Arguments arguments;
    const Outcome outcome = run(words, arguments, [] { return ADD_FAILURE(), kSuccess; });
    EXPECT_EQ(outcome.status, 2) << message;
    EXPECT_EQ(outcome.output, "");
    EXPECT_EQ(outcome.error.rfind("draw: ", 0), 0U) << outcome.error;
    EXPECT_NE(outcome.error.find(message), std::string::npos) << outcome.error;
    EXPECT_EQ(outcome.error.find('\n'), outcome.error.size() - 1) << outcome.error;
  }
}

TEST(Cli, ErrorsOfTheBodyAreOneLineAndStatus2) {
  Arguments arguments;
  const auto error_of = [&](const auto& error) {
    const Outcome outcome = run({}, arguments, [&]() -> int { throw error; });
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.output, "");
    return outcome.error;
  };
  EXPECT_EQ(error_of(aulos::Error("cannot write a.png: No space left on device")),
            "draw: cannot write a.png: No space left on device\n");
  EXPECT_EQ(error_of(std::runtime_error("two\nlines \t\r\n of text\n")), "draw: two lines of text\n");
  EXPECT_EQ(error_of(std::bad_alloc()), "draw: not enough memory\n");
}

TEST(Cli, StatusOfTheBodyAndHelp) {
  Arguments arguments;
  EXPECT_EQ(run({}, arguments, [] { return kFailure; }).status, 1);
  const Outcome help = run({"--help"}, arguments, [] { return ADD_FAILURE(), kSuccess; });
  EXPECT_EQ(help.status, 0);
  EXPECT_EQ(help.error, "");
  EXPECT_NE(help.output.find("--guidance NUMBER"), std::string::npos) << help.output;
  EXPECT_NE(help.output.find("4.5"), std::string::npos) << help.output;
}

struct CommaDecimal : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(Cli, NumbersDoNotFollowTheLocale) {
  const std::string c_locale = std::setlocale(LC_ALL, nullptr);
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new CommaDecimal));
  std::setlocale(LC_ALL, "de_DE.UTF-8");  // where installed
  Arguments arguments;
  EXPECT_EQ(run({"--guidance", "7.5", "--steps", "1000"}, arguments).status, 0);
  EXPECT_EQ(arguments.guidance, 7.5);
  EXPECT_EQ(arguments.steps, 1000);
  EXPECT_EQ(run({"--guidance", "7,5"}, arguments).status, 2);
  EXPECT_NE(run({"--help"}, arguments).output.find("7.5"), std::string::npos);
  EXPECT_EQ(number_text(1000000), "1000000");
  std::locale::global(before);
  std::setlocale(LC_ALL, c_locale.c_str());
}

TEST(Cli, FullStandardOutputIsAnError) {
  std::FILE* full = std::fopen("/dev/full", "wb");
  if (full == nullptr) GTEST_SKIP() << "no /dev/full";
  std::fclose(full);
  const auto print_to_full_disk = [] {
    if (std::freopen("/dev/full", "wb", stdout) == nullptr) std::_Exit(99);
    CLI::App app("Draws.", "draw");
    std::string word = "draw";
    char* argv[] = {word.data()};
    std::_Exit(run_program(app, 1, argv, [] { return std::puts("text") >= 0 ? kSuccess : kFailure; }));
  };
  EXPECT_EXIT(print_to_full_disk(), testing::ExitedWithCode(2),
              "draw: cannot write to standard output: No space left on device");
}

}  // namespace
