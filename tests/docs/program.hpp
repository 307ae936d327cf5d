// The programs of the documentation's pages, as the units that extract.cpp writes declare them.
#pragma once

#include <vector>

namespace docs {

struct Program {
  int line;              // of the page, where the program begins
  int (*run)();          // its main
  const char* expected;  // what it prints; null where the page doesn't say
};

struct Page {
  const char* path;   // from the root of the repository
  const char* suite;  // the page's folder
  const char* name;
  std::vector<Program> programs;
};

// All pages of this test program.
std::vector<Page>& pages();

inline bool add(Page page) {
  pages().push_back(page);
  return true;
}

}  // namespace docs
