// Durations, the bar's line, and what goes to a terminal and to a file.
#include "common/progress.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <limits>
#include <locale>
#include <string>

namespace {

using namespace aulos_examples;

// Everything that was written to a temporary file so far.
std::string contents(std::FILE* file) {
  std::string text;
  std::rewind(file);
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  return text;
}

TEST(Progress, Durations) {
  EXPECT_EQ(format_duration(0), "0.0 s");
  EXPECT_EQ(format_duration(0.449), "0.4 s");
  EXPECT_EQ(format_duration(9.94), "9.9 s");
  EXPECT_EQ(format_duration(9.96), "10 s");
  EXPECT_EQ(format_duration(59.4), "59 s");
  EXPECT_EQ(format_duration(59.6), "1 min 00 s");
  EXPECT_EQ(format_duration(185), "3 min 05 s");
  EXPECT_EQ(format_duration(3599.7), "1 h 00 min");
  EXPECT_EQ(format_duration(3725), "1 h 02 min");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(std::nan("")), "?");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "?");
}

TEST(Progress, Lines) {
  EXPECT_EQ(progress_line("drawing", 0, 4, 0), "drawing [>                             ] 0/4  ...");
  EXPECT_EQ(progress_line("drawing", 1, 4, 2), "drawing [=======>                      ] 1/4  6.0 s left");
  EXPECT_EQ(progress_line("drawing", 4, 4, 8), "drawing [==============================] 4/4  in 8.0 s");
  EXPECT_EQ(progress_line("x", 9, 4, 8), progress_line("x", 4, 4, 8));
  EXPECT_EQ(progress_line("x", 0, 0, 8), progress_line("x", 0, 1, 8));
}

TEST(Progress, NotesAndATotalThatShowsOnTheWay) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  {
    Progress progress("training", 1, file, false);
    progress.set_total(2);
    progress.set_note("loss 0.5");
    progress.step();
    progress.set_total(0);  // no less than is done
    progress.step();
  }
  const std::string text = contents(file);
  EXPECT_NE(text.find("] 1/2  "), std::string::npos) << text;
  EXPECT_NE(text.find(" left  loss 0.5\n"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  std::fclose(file);
}

TEST(Progress, PlainLinesOffTheTerminal) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  {
    Progress progress("scoring", 1000, file);  // a file is no terminal
    for (int i = 0; i < 1000; ++i) progress.step();
    progress.step();  // beyond the end: nothing more
  }
  const std::string text = contents(file);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 10);
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(text.find("1000/1000  in "), std::string::npos);
  std::fclose(file);
}

TEST(Progress, RedrawnOnTheTerminal) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  {
    Progress progress("drawing", 3, file, true);
    progress.step(3);
  }
  std::string text = contents(file);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\r'), 2);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  {
    Progress unfinished("drawing", 3, file, true);
    unfinished.step();
  }
  text = contents(file);
  EXPECT_EQ(text.back(), '\n');
  std::fclose(file);
}

struct CommaDecimal : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(Progress, NumbersDoNotFollowTheLocale) {
  const std::string c_locale = std::setlocale(LC_ALL, nullptr);
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new CommaDecimal));
  std::setlocale(LC_ALL, "de_DE.UTF-8");  // where installed
  EXPECT_EQ(format_number(1000000.5, 2), "1000000.50");
  EXPECT_EQ(progress_line("x", 1, 1000000, 0.0000015).substr(35), "1/1000000  1.5 s left");
  std::locale::global(before);
  std::setlocale(LC_ALL, c_locale.c_str());
}

}  // namespace
