// The section of what the harness has measured.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "bench/peers/measurements.hpp"
#include "bench/peers/section.hpp"
#include "bench/peers/text.hpp"
#include "bench/peers/work.hpp"

namespace peers {
namespace {

// How many times faster this is than `one`, the same with one thread, by how many times faster its limit is: the copy
// of the same bytes or the reading of them, or the peak.
double scaling(const Measurement& one, const Measurement& m) {
  const auto memory = [](const Measurement& of) {
    return std::find_if(of.limits.begin(), of.limits.end(), [](const Row& row) { return row.peer != "exp"; });
  };
  const auto slow = memory(one), fast = memory(m);
  const bool moves = slow != one.limits.end() && fast != m.limits.end();
  const double limit = moves ? slow->median_s / fast->median_s : m.ours.peak / one.ours.peak;
  return one.ours.median_s / m.ours.median_s / limit;
}

std::string table(const std::vector<Measurement>& measurements, int threads) {
  const bool scales = threads > 1;
  std::string text =
      "| work | dtype | ours, ms | GFLOP/s | of peak | best peer / ours | other peers / ours | limit / ours |";
  text += scales ? " scaling / of the limit |\n" : "\n";
  text += scales ? "|---|---|---|---|---|---|---|---|---|\n" : "|---|---|---|---|---|---|---|---|\n";
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
    for (const Row& row : m.limits) text += format("%.2f", row.ratio) + " " + row.peer;
    text += " |";
    if (scales) {
      const auto one = std::find_if(measurements.begin(), measurements.end(), [&](const Measurement& other) {
        return other.ours.threads == 1 && other.ours.work == m.ours.work && other.ours.dtype == m.ours.dtype;
      });
      text += one == measurements.end() ? " |" : format(" %.2f |", scaling(*one, m));
    }
    text += "\n";
  }
  return text;
}

// What was timed call by call.
std::string calls(const std::vector<Measurement>& measurements) {
  std::string text;
  for (const Measurement& m : measurements) {
    const Row& row = m.ours;
    if (row.calls == 0) continue;
    const double ours = row.call_p99_s / row.call_p50_s, loop = row.loop_p99_s / row.loop_p50_s;
    text += "| " + row.work + " | " + row.dtype + " | " + std::to_string(row.threads) + " | " +
            std::to_string(row.calls) + " | " + milliseconds(row.call_p50_s) + " | " + milliseconds(row.call_p99_s) +
            " | " + format("%.2f", ours) + " | " + format("%.2f", loop) + (loop > 1.1 ? " (restless)" : "") + " |\n";
  }
  if (text.empty()) return text;
  return "### Each call\n\n| work | dtype | threads | calls | p50, ms | p99, ms | p99 / p50 | of a loop as long |\n"
         "|---|---|---|---|---|---|---|---|\n" +
         text + "\n";
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
  text += ".\n\n![Shares of the peak](images/" + image_name(processor) + ")\n\n";
  for (const int count : threads) {
    text += "### " + std::to_string(count) + (count == 1 ? " thread" : " threads") + "\n\n" +
            table(measurements, count) + "\n";
  }
  return text + calls(measurements);
}

// Bytes that any implementation has to move: every operand and the result once.
double least_bytes(const Work& work, const std::string& dtype) {
  double weights = 0, rest = static_cast<double>(work.results);
  for (const Input& input : work.inputs) {
    (input.name.ends_with("weight") ? weights : rest) += static_cast<double>(input.count());
  }
  const double element = dtype == "f32" ? 4 : dtype == "bf16" ? 2 : 1;
  return element * weights + 4 * rest;
}

Chart chart_of(const std::vector<Measurement>& measurements) {
  Chart chart;
  for (const Measurement& m : measurements) {
    const auto owned = OwnedWork::parse(m.ours.work);
    if (!owned || m.ours.threads != 1) continue;
    const Work& work = owned->work();
    for (const Row& row : m.limits) {
      if (row.peer == "copy") chart.memory = std::max(chart.memory, 2 * work.copied / row.median_s);
    }
    if (m.ours.gflops <= 0) continue;
    double& peak = chart.peaks[m.ours.instruction];
    peak = std::max(peak, m.ours.peak);
    const std::string title = m.ours.work + " " + m.ours.dtype;
    chart.points.push_back({work.flops / least_bytes(work, m.ours.dtype), m.ours.gflops, title});
    Chart::Bar& bar = chart.bars.emplace_back(Chart::Bar{title, m.ours.peak_share});
    if (m.peers.empty()) continue;
    const Row& best = m.peers.front();
    // Of the times of the same rounds: their ratio is steadier than two medians.
    bar.peer_share = best.ratio > 0 ? m.ours.peak_share / best.ratio : best.peak_share;
    bar.peer = best.peer;
  }
  return chart;
}

}  // namespace

std::vector<Section> sections_of(const std::vector<Measurement>& measurements) {
  std::map<std::string, std::vector<Measurement>> by_processor;
  for (const Measurement& m : measurements) by_processor[m.ours.processor].push_back(m);
  std::vector<Section> sections;
  for (const auto& [processor, of] : by_processor) {
    sections.push_back({processor, section(processor, of), image_name(processor), chart_of(of)});
  }
  return sections;
}

}  // namespace peers
