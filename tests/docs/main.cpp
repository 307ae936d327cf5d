// Runs the programs of pages, each page a test, and compares what they print with what the page says.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <utility>

#include "tests/docs/program.hpp"

namespace {

// What is written to standard output while it lives.
class Capture {
 public:
  Capture() : file_(std::tmpfile()), former_(dup(STDOUT_FILENO)) {
    flush();
    if (file_ == nullptr || former_ < 0 || dup2(fileno(file_), STDOUT_FILENO) < 0) std::abort();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() {
    restore();
    std::fclose(file_);
  }

  std::string text() {
    restore();
    std::string text;
    std::rewind(file_);
    for (int c; (c = std::fgetc(file_)) != EOF;) text += static_cast<char>(c);
    return text;
  }

 private:
  static void flush() {
    std::cout.flush();
    std::fflush(stdout);
  }
  void restore() {
    if (former_ < 0) return;
    flush();
    dup2(former_, STDOUT_FILENO);
    close(std::exchange(former_, -1));
  }

  std::FILE* file_;
  int former_;
};

class PageTest : public testing::Test {
 public:
  explicit PageTest(const docs::Page& page) : page_(page) {}

  void TestBody() override {
    for (const docs::Program& program : page_.programs) {
      const std::string where = std::string(page_.path) + ":" + std::to_string(program.line);
      Capture capture;
      std::string failure;
      int status = 0;
      try {
        status = program.run();
      } catch (const std::exception& error) {
        failure = error.what();
      }
      const std::string printed = capture.text();
      EXPECT_EQ(failure, "") << where << " threw; it printed:\n" << printed;
      EXPECT_EQ(status, 0) << where << " printed:\n" << printed;
      if (program.expected != nullptr) {
        EXPECT_EQ(printed, program.expected) << where;
      }
    }
  }

 private:
  const docs::Page& page_;
};

}  // namespace

std::vector<docs::Page>& docs::pages() {
  static std::vector<Page> all;
  return all;
}

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (const docs::Page& page : docs::pages()) {
    testing::RegisterTest(page.suite, page.name, nullptr, nullptr, page.path, 1,
                          [&page]() -> PageTest* { return new PageTest(page); });
  }
  return RUN_ALL_TESTS();
}
