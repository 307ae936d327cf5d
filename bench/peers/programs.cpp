#include "bench/peers/programs.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <stdexcept>

#include "aulos/io/json.hpp"
#include "bench/peers/section.hpp"
#include "bench/peers/text.hpp"

namespace peers {
namespace {

using aulos::io::json::Value;

// Values that a program adds to the context are text.
double number(const Value& context, const std::string& key) {
  return std::strtod(context.get_or<std::string>(key, "0").c_str(), nullptr);
}

// The peaks by the label that names the mode.
using Peaks = std::map<std::string, double>;

Result result_of(const Value& line, const Peaks& peaks) {
  Result result;
  result.name = line.get<std::string>("name");
  result.label = line.get_or<std::string>("label", "");
  const char* clock = "cpu_time";  // by which rates count where the name says nothing else
  for (const std::string suffix : {"/real_time", "/manual_time"}) {
    if (!result.name.ends_with(suffix)) continue;
    result.name.resize(result.name.size() - suffix.size());
    clock = "real_time";
  }
  if (const std::size_t at = result.name.find("threads:"); at != result.name.npos) {
    result.threads = std::max(1, std::atoi(result.name.c_str() + at + 8));
  }
  const std::string unit = line.get<std::string>("time_unit");
  const double scale = unit == "ns" ? 1e-9 : unit == "us" ? 1e-6 : unit == "ms" ? 1e-3 : 1;
  result.seconds = scale * line.get<double>(clock);

  static const std::set<std::string> known = {"family_index", "per_family_instance_index",
                                              "repetitions",  "repetition_index",
                                              "threads",      "iterations",
                                              "real_time",    "cpu_time"};
  for (const auto& [key, value] : line.members()) {
    if (!value.is_number() || known.contains(key)) continue;
    const double counter = value.as<double>();
    if (key == "flops") {
      result.flops = counter;
    } else if (key == "GFLOP/s") {
      result.flops = 1e9 * counter;
    } else if (key == "bytes" || key == "bytes/s" || key == "bytes_per_second") {
      result.bytes = counter;
    } else if (key == "peak_share") {
      result.peak_share = counter;
    } else {
      result.counters.emplace_back(key, counter);
    }
  }
  const auto peak = peaks.find(result.label.empty() ? "exact" : result.label);
  if (result.peak_share == 0 && peak != peaks.end()) {
    result.peak_share = result.flops / (1e9 * peak->second * result.threads);
  }
  return result;
}

Run run_of(const Value& file) {
  const Value* context = file.find("context");
  if (!context) throw std::runtime_error("has no context");
  Run run;
  run.program = std::filesystem::path(context->get<std::string>("executable")).filename();
  run.processor = context->get_or<std::string>("processor", "unknown");
  run.copy = 1e9 * number(*context, "copy");
  Peaks peaks;
  for (const auto& [label, dtype] : {std::pair{"exact", "f32"}, {"bf16", "bf16"}, {"int8", "int8"}}) {
    const std::string key = std::string("peak_") + dtype;
    const std::string instruction = context->get_or<std::string>(key + "_instruction", "");
    if (!instruction.empty()) peaks[label] = run.peaks[instruction] = number(*context, key);
  }
  for (const Value& line : file.get<Value::Array>("benchmarks")) {
    if (line.get_or<std::string>("run_type", "") == "aggregate" || line.get_or<bool>("error_occurred", false)) continue;
    Result result = result_of(line, peaks);
    const auto same = [&](const Result& old) { return old.name == result.name && old.label == result.label; };
    const auto old = std::find_if(run.results.begin(), run.results.end(), same);
    if (old == run.results.end()) {
      run.results.push_back(std::move(result));
    } else if (result.seconds < old->seconds) {  // of repetitions the best
      *old = std::move(result);
    }
  }
  return run;
}

std::string table(const Run& run) {
  std::string text =
      "| benchmark | mode | ms | GFLOP/s | of peak | GB/s | counters |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const Result& r : run.results) {
    text += "| " + r.name + " | " + r.label + " | " + milliseconds(r.seconds) + " | ";
    if (r.flops > 0) text += format("%.0f", r.flops / 1e9);
    text += " | ";
    if (r.peak_share > 0) text += format("%.0f %%", 100 * r.peak_share);
    text += " | ";
    if (r.bytes > 0) text += format("%.1f", r.bytes / 1e9);
    text += " | ";
    for (std::size_t i = 0; i < r.counters.size(); ++i) {
      text += (i > 0 ? ", " : "") + r.counters[i].first + " " + format("%.3g", r.counters[i].second);
    }
    text += " |\n";
  }
  return text;
}

}  // namespace

bool add_run(std::vector<Run>& runs, const std::string& file, const std::string& text) {
  Value parsed;
  try {
    parsed = aulos::io::json::parse(text);
  } catch (const std::exception&) {
    return false;  // lines
  }
  if (!parsed.find("benchmarks")) return false;
  try {
    Run run = run_of(parsed);
    const auto same = [&](const Run& old) { return old.program == run.program && old.processor == run.processor; };
    std::erase_if(runs, same);
    runs.push_back(std::move(run));
  } catch (const std::exception& error) {
    throw std::runtime_error(file + ": " + error.what());
  }
  return true;
}

std::vector<Section> sections_of(const std::vector<Run>& runs) {
  std::map<std::string, Section> by_processor;
  for (const Run& run : runs) {
    Section& section = by_processor[run.processor];
    if (section.text.empty()) {
      section.mark = run.processor + ", our programs";
      section.image = image_name(run.processor, "-programs");
      section.text = "## " + section.mark + "\n\n![Shares of the peak](images/" + section.image + ")\n\n";
    }
    section.text += "### " + run.program + "\n\n" + table(run) + "\n";
    Chart& chart = section.chart;
    chart.memory = std::max(chart.memory, run.copy);
    for (const auto& [instruction, peak] : run.peaks) {
      chart.peaks[instruction] = std::max(chart.peaks[instruction], peak);
    }
    for (const Result& result : run.results) {
      if (result.threads != 1 || result.flops == 0) continue;
      const std::string title = result.name + (result.label.empty() ? "" : " ") + result.label;
      if (result.bytes > 0) chart.points.push_back({result.flops / result.bytes, result.flops / 1e9, title});
      if (result.peak_share > 0) chart.bars.push_back({title, result.peak_share});
    }
  }
  std::vector<Section> sections;
  for (auto& [processor, section] : by_processor) sections.push_back(std::move(section));
  return sections;
}

}  // namespace peers
