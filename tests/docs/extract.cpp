// Writes the programs of pages (their ```cpp blocks) into one source file, and what they print (the ```text block
// behind each) beside them:
//     extract OUTPUT ROOT PAGE...      pages by their path from ROOT
// Includes move to the top and everything else into a namespace of its own, with #line, so that the compiler names
// page and line. A block whose first line says `cpp FILE` quotes that file and is no program (tests/house compares
// them).
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Line {
  std::string text;
  int number;
};

struct Block {
  std::string info;  // what stands behind the opening fence
  int line;          // of its first line of content
  std::vector<Line> lines;
};

[[noreturn]] void fail(const std::string& page, int line, const std::string& what) {
  throw std::runtime_error(page + ":" + std::to_string(line) + ": " + what);
}

std::vector<Block> blocks_of(const std::string& page, std::istream& text) {
  std::vector<Block> blocks;
  bool inside = false;
  int number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (line.compare(0, 3, "```") != 0) {
      if (inside) blocks.back().lines.push_back({line, number});
    } else if (inside) {
      if (line != "```") fail(page, number, "a block ends with ``` alone");
      inside = false;
    } else {
      blocks.push_back({line.substr(3), number + 1, {}});
      inside = true;
    }
  }
  if (inside) fail(page, blocks.back().line - 1, "this block doesn't end");
  return blocks;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

// Includes, once each, and the namespaces of the programs.
struct Unit {
  std::string root;
  std::string prefix;  // of namespaces, so that programs of two units differ
  std::set<std::string> seen;
  std::ostringstream includes, body;

  void add_page(const std::string& page) {
    std::ifstream file(root + "/" + page, std::ios::binary);
    if (!file) fail(page, 0, "can't be read");
    std::string programs;
    const std::vector<Block> blocks = blocks_of(page, file);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i].info != "cpp") continue;
      const bool told = i + 1 < blocks.size() && blocks[i + 1].info == "text";
      if (!told && page != "README.md")
        fail(page, blocks[i].line, "a ```text block behind a program says what it prints");
      const std::string space = prefix + "_program" + std::to_string(++count_);
      add_program(page, blocks[i], space);
      programs += "    {" + std::to_string(blocks[i].line) + ", &" + space + "::run, ";
      if (!told) programs += "nullptr";
      for (const Line& line : told ? blocks[i + 1].lines : std::vector<Line>{}) {
        programs += "\n     " + quoted(line.text) + " \"\\n\"";
      }
      if (told && blocks[i + 1].lines.empty()) programs += "\"\"";
      programs += "},\n";
    }
    if (programs.empty()) return;
    // docs/ops/linear.md is linear of ops, docs/tutorial.md is tutorial of page.
    const std::size_t slash = page.rfind('/');
    const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
    std::string name = page.substr(begin, page.rfind('.') - begin);
    for (char& c : name) c = c == '-' ? '_' : c;  // GoogleTest's filters read it as "but not"
    std::string suite = slash == std::string::npos ? "docs" : page.substr(0, slash);
    suite = suite == "docs" ? "page" : suite.substr(suite.rfind('/') + 1);
    body << "[[maybe_unused]] static const bool added" << count_ << " = docs::add({" << quoted(page) << ", "
         << quoted(suite) << ", " << quoted(name) << ", {\n"
         << programs << "}});\n";
  }

 private:
  void add_program(const std::string& page, const Block& block, const std::string& space) {
    const std::string path = quoted(root + "/" + page);
    body << "namespace " << space << " {\n#line " << block.line << " " << path << "\n";
    const std::string main = "int main() {";
    bool inside_main = false, has_main = false;
    for (const Line& line : block.lines) {
      if (line.text.compare(0, 9, "#include ") == 0) {
        if (seen.insert(line.text).second)
          includes << "#line " << line.number << " " << path << "\n" << line.text << "\n";
        body << "\n";
      } else if (line.text.compare(0, main.size(), main) == 0) {
        body << "int run() {" << line.text.substr(main.size()) << "\n";
        inside_main = has_main = true;
      } else if (inside_main && line.text == "}") {
        body << "return 0; }\n";
        inside_main = false;
      } else {
        body << line.text << "\n";
      }
    }
    if (!has_main || inside_main) fail(page, block.line, "a ```cpp block is a program: \"int main() {\" to \"}\"");
    body << "}  // namespace " << space << "\n";
  }

  int count_ = 0;
};

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int run(int argc, char** argv) {
  if (argc < 4) throw std::runtime_error("usage: extract OUTPUT ROOT PAGE...");
  const std::string output = argv[1];
  Unit unit;
  unit.root = argv[2];
  unit.prefix = output.substr(output.rfind('/') + 1, output.rfind('.') - output.rfind('/') - 1);
  for (int i = 3; i < argc; ++i) unit.add_page(argv[i]);
  const std::string text = "#include \"tests/docs/program.hpp\"\n" + unit.includes.str() + unit.body.str();
  if (contents(output) == text) return 0;  // nothing to compile anew
  std::ofstream file(output, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error(output + ": can't be written");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
