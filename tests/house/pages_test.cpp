// The rules of the documentation: a page for each header, an index of all pages, links that lead somewhere, and quoted
// files as they are. What the programs of the pages print is the business of tests/docs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/paths.hpp"

namespace {

namespace fs = std::filesystem;
using aulos_tests::source_dir;

struct Link {
  std::string target;
  int line;
};

struct Quote {
  std::string file, text;
  int line;
};

struct Page {
  std::vector<std::string> anchors;  // of its headings
  std::vector<Link> links;
  std::vector<Quote> quotes;       // fenced blocks whose first line names a file: "```cpp docs/tutorial/block.hpp"
  std::set<std::string> includes;  // of its programs
  std::string title;
};

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool starts_with(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }

// As GitHub makes it: lower case, spaces as hyphens, letters, digits, hyphens and underscores stay.
std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char c : heading) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) != 0 || c == '-' || c == '_' || u >= 0x80) anchor += static_cast<char>(std::tolower(u));
    if (c == ' ') anchor += '-';
  }
  return anchor;
}

// The targets of [text](target); code spans hold none.
void find_links(const std::string& line, int number, std::vector<Link>& links) {
  bool code = false;
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (line[at] == '`') code = !code;
    if (code || line.compare(at, 2, "](") != 0) continue;
    const std::size_t end = line.find(')', at);
    links.push_back({line.substr(at + 2, end == std::string::npos ? end : end - at - 2), number});
  }
}

Page read_page(const std::string& text) {
  Page page;
  std::istringstream in(text);
  std::string fence;
  bool fenced = false;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (starts_with(line, "```")) {
      fenced = !fenced;
      fence = fenced ? line.substr(3) : "";
      const std::size_t space = fence.find(' ');
      if (space != std::string::npos) page.quotes.push_back({fence.substr(space + 1), "", number});
    } else if (fenced) {
      if (fence.find(' ') != std::string::npos) page.quotes.back().text += line + "\n";
      if (fence == "cpp" && starts_with(line, "#include ")) page.includes.insert(line.substr(9));
    } else {
      if (starts_with(line, "# ") && page.title.empty()) page.title = line.substr(2);
      const std::size_t level = line.find_first_not_of('#');
      if (level != 0 && level != std::string::npos && line[level] == ' ') {
        std::string anchor = anchor_of(line.substr(level + 1));
        const auto same = std::count(page.anchors.begin(), page.anchors.end(), anchor);
        page.anchors.push_back(same == 0 ? anchor : anchor + "-" + std::to_string(same));
      }
      find_links(line, number, page.links);
    }
  }
  return page;
}

// README.md and the pages below docs/, by their path from the root.
const std::map<std::string, Page>& pages() {
  static const std::map<std::string, Page> all = [] {
    std::map<std::string, Page> found{{"README.md", read_page(text_of(source_dir() / "README.md"))}};
    for (const auto& entry : fs::recursive_directory_iterator(source_dir() / "docs")) {
      if (entry.path().extension() != ".md") continue;
      found[fs::relative(entry.path(), source_dir()).generic_string()] = read_page(text_of(entry.path()));
    }
    return found;
  }();
  return all;
}

// "ops/linear" of include/aulos/ops/linear.hpp. The naive twins are described on the pages of their kernels.
std::set<std::string> headers() {
  std::set<std::string> stems;
  const fs::path root = source_dir() / "include/aulos";
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".hpp") continue;
    const std::string stem = fs::relative(entry.path(), root).replace_extension().generic_string();
    if (!starts_with(stem, "kernels/naive/")) stems.insert(stem);
  }
  return stems;
}

// What is wrong with a link of `from`, or nothing.
std::string link_fault(const std::string& from, const std::string& target) {
  if (target.find("://") != std::string::npos || starts_with(target, "mailto:")) return "";
  const std::size_t hash = target.find('#');
  const std::string file = target.substr(0, hash);
  if (starts_with(file, "/")) return "an absolute path";
  const std::string path =
      file.empty() ? from : (fs::path(from).parent_path() / file).lexically_normal().generic_string();
  if (!fs::exists(source_dir() / path)) return "there is no " + path;
  if (hash == std::string::npos) return "";
  const auto page = pages().find(path);
  if (page == pages().end()) return path + " is no page";
  const auto& anchors = page->second.anchors;
  const bool found = std::find(anchors.begin(), anchors.end(), target.substr(hash + 1)) != anchors.end();
  return found ? "" : path + " has no heading " + target.substr(hash);
}

TEST(HousePages, EachHeaderHasOne) {
  for (const std::string& stem : headers()) {
    const auto page = pages().find("docs/" + stem + ".md");
    if (page == pages().end()) {
      ADD_FAILURE() << "include/aulos/" << stem << ".hpp has no docs/" << stem << ".md";
      continue;
    }
    EXPECT_EQ(page->second.title, stem + ".hpp") << page->first;
    EXPECT_EQ(page->second.includes.count("<aulos/" + stem + ".hpp>"), 1U)
        << page->first << " has no program that includes its header";
  }
}

TEST(HousePages, EachOfAFolderHasAHeader) {
  const std::set<std::string> stems = headers();
  for (const auto& [path, page] : pages()) {
    const std::string folder = fs::path(path).parent_path().lexically_relative("docs").generic_string();
    if (folder == "." || folder == ".." || !fs::exists(source_dir() / "include/aulos" / folder)) continue;  // a guide
    const std::string stem = fs::path(path).lexically_relative("docs").replace_extension().generic_string();
    EXPECT_EQ(stems.count(stem), 1U) << path << " describes no header";
  }
}

TEST(HousePages, AreAllInTheIndex) {
  const auto index = pages().find("docs/README.md");
  ASSERT_TRUE(index != pages().end());
  std::multiset<std::string> listed;
  for (const Link& link : index->second.links) listed.insert("docs/" + link.target);
  for (const auto& [path, page] : pages()) {
    if (path == "README.md" || path == "docs/README.md") continue;
    EXPECT_EQ(listed.count(path), 1U) << path << " in docs/README.md: ./dev docs writes it anew";
  }
}

TEST(HousePages, LinksLeadSomewhere) {
  for (const auto& [path, page] : pages())
    for (const Link& link : page.links) EXPECT_EQ(link_fault(path, link.target), "") << path << ":" << link.line;
}

TEST(HousePages, QuotedFilesAreAsQuoted) {
  for (const auto& [path, page] : pages())
    for (const Quote& quote : page.quotes) {
      EXPECT_NE(("\n" + text_of(source_dir() / quote.file)).find("\n" + quote.text), std::string::npos)
          << path << ":" << quote.line << " is not what " << quote.file << " holds";
    }
}

TEST(HousePages, TheReaderIsRight) {
  const Page page = read_page(
      "# a/b.hpp\n"
      "See [x](c.md#d-e), `[y](z)` and [two](../f.md).\n"
      "## D e: `f_g`\n"
      "## D e: `f_g`\n"
      "```cpp\n# no heading\n[no](link)\n#include <aulos/a/b.hpp>\n```\n"
      "```python docs/a.py\nx = 1\n```\n"
      "#no heading\n");
  EXPECT_EQ(page.title, "a/b.hpp");
  EXPECT_EQ(page.anchors, (std::vector<std::string>{"abhpp", "d-e-f_g", "d-e-f_g-1"}));
  ASSERT_EQ(page.links.size(), 2U);
  EXPECT_EQ(page.links[0].target, "c.md#d-e");
  EXPECT_EQ(page.links[1].target, "../f.md");
  EXPECT_EQ(page.links[1].line, 2);
  EXPECT_EQ(page.includes, (std::set<std::string>{"<aulos/a/b.hpp>"}));
  ASSERT_EQ(page.quotes.size(), 1U);
  EXPECT_EQ(page.quotes[0].file, "docs/a.py");
  EXPECT_EQ(page.quotes[0].text, "x = 1\n");

  EXPECT_EQ(link_fault("docs/glossary.md", "design-notes.md"), "");
  EXPECT_EQ(link_fault("docs/glossary.md", "../README.md#licence"), "");
  EXPECT_EQ(link_fault("docs/glossary.md", "#glossary"), "");
  EXPECT_NE(link_fault("docs/glossary.md", "no_such.md"), "");
  EXPECT_NE(link_fault("docs/glossary.md", "design-notes.md#no-such-heading"), "");
  EXPECT_NE(link_fault("docs/glossary.md", "/etc/passwd"), "");
}

}  // namespace
