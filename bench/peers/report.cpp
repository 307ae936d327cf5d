// Puts measurements into docs/benchmarks.md: for each processor in them a section between two marks, with a table for
// each number of threads and a chart. Sections of other processors stay as they are.
//     peers_report --page PAGE --images FOLDER FILE...
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/peers/chart.hpp"
#include "bench/peers/measurements.hpp"

namespace peers {
namespace {

std::string format(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string milliseconds(double seconds) {
  return format(seconds < 1e-4 ? "%.4f" : seconds < 1e-2 ? "%.3f" : seconds < 1 ? "%.1f" : "%.0f", seconds * 1e3);
}

// "AMD EPYC (family 25 model 17)" -> "amd-epyc-family-25-model-17".
std::string file_name(const std::string& processor) {
  std::string name;
  for (const char c : processor) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  while (name.ends_with('-')) name.pop_back();
  return name;
}

std::string table(const std::vector<Measurement>& measurements, int threads) {
  std::string text =
      "| work | dtype | ours, ms | GFLOP/s | of peak | best peer / ours | other peers / ours | memory / ours |\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const Measurement& m : measurements) {
    if (m.ours.threads != threads) continue;
    text += "| " + m.ours.work + " | " + m.ours.dtype + " | " + milliseconds(m.ours.median_s) + " | ";
    if (m.ours.gflops > 0) text += format("%.0f", m.ours.gflops);
    text += " | ";
    if (m.ours.gflops > 0) text += format("%.0f %%", 100 * m.ours.peak_share);
    text += " | ";
    for (std::size_t i = 0; i < m.peers.size(); ++i) {
      const std::string one = format("%.2f", m.peers[i].ratio) + " " + m.peers[i].peer;
      text += i == 0 ? "**" + one + "** | " : (i > 1 ? ", " : "") + one;
    }
    text += m.peers.empty() ? " | | " : " | ";
    for (const Row& row : m.memory) text += format("%.2f", row.ratio) + " " + row.peer;
    text += " |\n";
  }
  return text;
}

std::string section(const std::string& processor, const std::vector<Measurement>& measurements) {
  std::set<std::string> versions;
  std::map<std::string, double> peaks;
  std::set<int> threads;
  for (const Measurement& m : measurements) {
    threads.insert(m.ours.threads);
    if (m.ours.threads == 1) peaks[m.ours.instruction] = std::max(peaks[m.ours.instruction], m.ours.peak);
    for (const Row& row : m.peers) versions.insert(row.peer.substr(0, row.peer.find('+')) + " " + row.version);
  }
  std::string text = "## " + processor + "\n\n";
  if (!peaks.empty()) {
    text += "Peaks of one thread:";
    for (const auto& [instruction, peak] : peaks) {
      text += (text.ends_with(":") ? " " : ", ") + instruction + format(" %.0f", peak);
    }
    text += " GFLOP/s. ";
  }
  text += "Peers:";
  for (const std::string& version : versions) text += (text.ends_with(":") ? " " : ", ") + version;
  text += ".\n\n![Shares of the peak](images/benchmarks-" + file_name(processor) + ".svg)\n\n";
  for (const int count : threads) {
    text += "### " + std::to_string(count) + (count == 1 ? " thread" : " threads") + "\n\n" +
            table(measurements, count) + "\n";
  }
  return text;
}

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

// Replaces what stands between the marks of `processor`, or appends it.
void put_section(std::string& page, const std::string& processor, const std::string& text) {
  const std::string begin = "<!-- measured: " + processor + " -->\n", end = "<!-- end -->\n";
  const std::size_t at = page.find(begin);
  if (at == page.npos) {
    page += "\n" + begin + text + end;
    return;
  }
  const std::size_t from = at + begin.size(), to = page.find(end, from);
  if (to == page.npos) throw std::runtime_error("the section of " + processor + " has no end");
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
  std::map<std::string, std::vector<Measurement>> by_processor;
  for (const Measurement& m : read_measurements(files)) by_processor[m.ours.processor].push_back(m);
  std::string text = read_file(page);
  for (const auto& [processor, measurements] : by_processor) {
    put_section(text, processor, section(processor, measurements));
    write_file(images / ("benchmarks-" + file_name(processor) + ".svg"), chart(measurements));
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
