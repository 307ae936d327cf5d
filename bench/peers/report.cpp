// Puts measurements into docs/benchmarks.md: for each processor in them a section between two marks, with tables and a
// chart. Files are the harness's JSON lines, or what our own programs write as Google Benchmark's JSON. Sections of
// other processors stay as they are.
//     peers_report --page PAGE --images FOLDER FILE...
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/peers/chart.hpp"
#include "bench/peers/measurements.hpp"
#include "bench/peers/programs.hpp"
#include "bench/peers/section.hpp"

namespace peers {

std::string image_name(std::string_view processor, std::string_view suffix) {
  std::string name = "benchmarks-";
  for (const char c : processor) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (name.back() != '-') {
      name += '-';
    }
  }
  while (name.ends_with('-')) name.pop_back();
  return name + std::string(suffix) + ".svg";
}

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

// Replaces what stands between the marks of that name, or appends it.
void put_section(std::string& page, const std::string& mark, const std::string& text) {
  const std::string begin = "<!-- measured: " + mark + " -->\n", end = "<!-- end -->\n";
  const std::size_t at = page.find(begin);
  if (at == page.npos) {
    page += "\n" + begin + text + end;
    return;
  }
  const std::size_t from = at + begin.size(), to = page.find(end, from);
  if (to == page.npos) throw std::runtime_error("the section of " + mark + " has no end");
  page.replace(from, to - from, text);
}

void run(int argc, char** argv) {
  std::filesystem::path page, images;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if ((argument == "--page" || argument == "--images") && i + 1 < argc) {
      (argument == "--page" ? page : images) = argv[++i];
    } else {
      files.push_back(argument);
    }
  }
  if (page.empty() || images.empty() || files.empty()) {
    throw std::runtime_error("usage: peers_report --page PAGE --images FOLDER FILE...");
  }
  std::vector<Row> rows;
  std::vector<Run> runs;
  for (const std::string& file : files) {
    const std::string text = read_file(file);
    if (!add_run(runs, file, text)) add_rows(rows, file, text);
  }
  std::vector<Section> sections = sections_of(by_work(rows));
  for (Section& section : sections_of(runs)) sections.push_back(std::move(section));
  std::string text = read_file(page);
  for (const Section& section : sections) {
    put_section(text, section.mark, section.text);
    write_file(images / section.image, draw(section.chart));
  }
  write_file(page, text);
}

}  // namespace
}  // namespace peers

int main(int argc, char** argv) {
  try {
    peers::run(argc, argv);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peers_report: %s\n", error.what());
    return 1;
  }
}
