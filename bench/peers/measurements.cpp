#include "bench/peers/measurements.hpp"

#include <algorithm>
#include <map>
#include <sstream>
#include <stdexcept>
#include <tuple>

#include "aulos/io/json.hpp"
#include "bench/peers/plugin.hpp"

namespace peers {
namespace {

Row row_of(const aulos::io::json::Value& line) {
  Row row;
  row.work = line.get<std::string>("work");
  row.dtype = line.get<std::string>("dtype");
  row.threads = static_cast<int>(line.get<aulos::Index>("threads"));
  row.peer = line.get<std::string>("peer");
  row.version = line.get<std::string>("version");
  row.processor = line.get<std::string>("processor");
  row.instruction = line.get_or<std::string>("instruction", "");
  row.median_s = line.get<double>("median_s");
  row.min_s = line.get<double>("min_s");
  row.p99_s = line.get_or<double>("p99_s", 0);
  row.gflops = line.get<double>("gflops");
  row.peak = line.get<double>("peak");
  row.peak_share = line.get<double>("peak_share");
  row.ratio = line.get_or<double>("ratio", 0);
  row.err = line.get_or<double>("err", 0);
  row.calls = static_cast<int>(line.get_or<aulos::Index>("calls", 0));
  row.call_p50_s = line.get_or<double>("call_p50_s", 0);
  row.call_p99_s = line.get_or<double>("call_p99_s", 0);
  row.loop_p50_s = line.get_or<double>("loop_p50_s", 0);
  row.loop_p99_s = line.get_or<double>("loop_p99_s", 0);
  return row;
}

bool same_work(const Row& a, const Row& b) {
  return a.work == b.work && a.dtype == b.dtype && a.threads == b.threads && a.processor == b.processor;
}

}  // namespace

void add_rows(std::vector<Row>& rows, const std::string& file, const std::string& text) {
  std::istringstream in(text);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    try {
      const Row row = row_of(aulos::io::json::parse(line));
      const auto same = [&](const Row& old) { return same_work(old, row) && old.peer == row.peer; };
      const auto old = std::find_if(rows.begin(), rows.end(), same);
      if (old == rows.end()) {
        rows.push_back(row);
      } else {
        *old = row;
      }
    } catch (const std::exception& error) {
      throw std::runtime_error(file + ":" + std::to_string(number) + ": " + error.what());
    }
  }
}

std::vector<Measurement> by_work(std::vector<Row> rows) {
  std::map<std::tuple<std::string, std::string, int>, double> peaks;
  const auto peak_of = [&](const Row& row) -> double& { return peaks[{row.processor, row.instruction, row.threads}]; };
  for (const Row& row : rows) peak_of(row) = std::max(peak_of(row), row.peak);
  for (Row& row : rows) {
    row.peak = peak_of(row);
    row.peak_share = row.peak > 0 ? row.gflops / row.peak : 0;
  }
  std::vector<Measurement> found;
  for (const Row& ours : rows) {
    if (ours.peer != "aulos") continue;
    Measurement& m = found.emplace_back();
    m.ours = ours;
    for (const Row& row : rows) {
      if (row.peer == "aulos" || !same_work(row, ours)) continue;
      (is_limit(row.peer) ? m.limits : m.peers).push_back(row);
    }
    std::stable_sort(m.peers.begin(), m.peers.end(), [](const Row& a, const Row& b) { return a.ratio < b.ratio; });
  }
  return found;
}

}  // namespace peers
