// verify: computes golden cases and compares them with what PyTorch wrote.
//
//     verify [--tolerance X] [--grad/--no-grad] [--threads N] [--numeric exact|bf16|int8]
//            [--json] [--strict] [--dump DIR] PATH...
//     verify --systems
//
// In bf16 and int8 outputs alone are computed, and, unless a tolerance is given, their errors reported, not judged.
// Exit 0: a case ran and every case of a known system passed. 1: a case failed, none ran, or, with --strict, a system
// is unknown or a file is no case. 2: usage, a missing path, a damaged file.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "aulos/io/json.hpp"
#include "aulos/registry.hpp"
#include "common/cli.hpp"
#include "verify/families.hpp"
#include "verify/report.hpp"

namespace {

using namespace aulos_examples;

struct Options {
  std::vector<std::string> paths;
  double tolerance = 0;
  bool has_tolerance = false;
  bool gradients = true;
  bool json = false;
  bool strict = false;
  int threads = 0;
  aulos::Numeric numeric = aulos::Numeric::exact;
  std::string dump;
};

struct Totals {
  int passed = 0, failed = 0;
  int not_a_case = 0;
  std::set<std::string> unknown;
  int unknown_cases = 0;
};

// Files below the paths, in order. Throws Error for a path that does not exist.
std::vector<std::string> case_files(const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    if (!fs::exists(path)) throw aulos::Error(path + " does not exist");
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file() && entry.path().extension() == ".safetensors") found.push_back(entry.path().string());
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

std::string metadata(const aulos::io::Checkpoint& file, const char* key, const std::string& fallback) {
  const std::string* found = file.metadata().find(key);
  return found == nullptr ? fallback : *found;
}

void print(const verify::CaseReport& report, const Options& options) {
  for (const verify::Verdict& v : report.verdicts) {
    if (options.json) {
      aulos::io::json::Writer line;
      line.begin_object();
      line.key("system");
      line.value(report.system);
      line.key("case");
      line.value(report.name);
      line.key("tensor");
      line.value(v.tensor);
      line.key("max_abs");
      line.value(v.max_abs);
      line.key("rms_ratio");
      line.value(std::min(v.rms_ratio, 1e300));
      line.key("verdict");
      line.value(v.passed ? "pass" : "fail");
      line.end_object();
      std::printf("%s\n", line.take().c_str());
    } else if (!v.passed) {
      std::printf("  FAIL %-60s max %.3g  rms %.3g%s%s\n", v.tensor.c_str(), v.max_abs, v.rms_ratio,
                  v.reason.empty() ? "" : "  ", v.reason.c_str());
    }
  }
  if (options.json) {
    if (!report.error.empty()) {
      aulos::io::json::Writer line;
      line.begin_object();
      line.key("system");
      line.value(report.system);
      line.key("case");
      line.value(report.name);
      line.key("error");
      line.value(report.error);
      line.key("verdict");
      line.value("fail");
      line.end_object();
      std::printf("%s\n", line.take().c_str());
    }
    return;
  }
  double worst = 0;
  double max_abs = 0;
  for (const verify::Verdict& v : report.verdicts) {
    worst = std::max(worst, v.rms_ratio);
    max_abs = std::max(max_abs, v.max_abs);
  }
  std::printf("%s %s / %s: %zu tensors, worst rms %.2g, max %.2g%s%s\n", report.passed() ? "pass" : "FAIL",
              report.system.c_str(), report.name.c_str(), report.verdicts.size(), worst, max_abs,
              report.error.empty() ? "" : "; ", report.error.c_str());
}

int list_systems() {
  for (const std::string& system : verify::all_families().systems()) std::printf("%s\n", system.c_str());
  return kSuccess;
}

int run(const Options& options) {
  const aulos::Registry registry = verify::all_families();
  Totals totals;
  for (const std::string& path : case_files(options.paths)) {
    const aulos::io::Checkpoint file = aulos::io::Checkpoint::open(path);
    if (metadata(file, "format", "") != "golden-1") {
      ++totals.not_a_case;
      if (!options.json) std::printf("skip %s: no golden case (metadata format is not golden-1)\n", path.c_str());
      continue;
    }
    const std::string system = metadata(file, "system", "");
    const auto* factory = registry.find(system);
    if (factory == nullptr) {
      totals.unknown.insert(system);
      ++totals.unknown_cases;
      continue;
    }
    verify::CaseReport report;
    std::map<std::string, aulos::CaseValues> computed;
    const std::string name = metadata(file, "case", std::filesystem::path(path).stem().string());
    try {
      const bool differentiable = std::any_of(file.tensors().begin(), file.tensors().end(), [](const auto& info) {
        return std::string_view(info.name).substr(0, 10) == "cotangent/";
      });
      aulos::Case c(file, options.threads, options.gradients && differentiable, options.numeric);
      (*factory)(c);
      computed = c.finish();
      report = verify::judge(file, computed,
                             options.has_tolerance ? std::optional<double>(options.tolerance) : std::nullopt);
      if (!options.gradients)
        std::erase_if(report.verdicts, [](const verify::Verdict& v) { return v.tensor.substr(0, 5) == "grad_"; });
    } catch (const std::exception& error) {
      report.error = one_line(error.what());
    }
    report.system = system;
    report.name = name;
    if (!options.dump.empty()) verify::dump(options.dump, system, name, file, computed);
    print(report, options);
    ++(report.passed() ? totals.passed : totals.failed);
  }
  if (!options.json) {
    if (!totals.unknown.empty()) {
      std::printf("unknown systems (%zu, %d cases):", totals.unknown.size(), totals.unknown_cases);
      for (const std::string& system : totals.unknown) std::printf(" %s", system.c_str());
      std::printf("\n");
    }
    std::printf("%d passed, %d failed, %d unknown\n", totals.passed, totals.failed, totals.unknown_cases);
  }
  const bool strict_failure = options.strict && (totals.unknown_cases > 0 || totals.not_a_case > 0);
  return totals.passed + totals.failed == 0 || totals.failed > 0 || strict_failure ? kFailure : kSuccess;
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* problem = aulos::unsupported_processor()) return report("verify", problem);
  CLI::App app("Computes golden cases and compares them with what PyTorch wrote.", "verify");
  Options options;
  CLI::Option* paths = app.add_option("paths", options.paths, "files, or folders that are searched for *.safetensors");
  bool list = false;
  app.add_flag("--systems", list, "print the systems that it knows")->excludes(paths);
  CLI::Option* tolerance =
      add_number(app, "--tolerance", options.tolerance, 0.0, 1e30, "RMS(error) / RMS(reference) instead of the case's");
  add_number(app, "--threads", options.threads, 0, 1024, "0: as many as there are");
  app.add_flag("--grad,!--no-grad", options.gradients, "compare gradients (default)");
  app.add_flag("--json", options.json, "one JSON object a line for each tensor");
  app.add_flag("--strict", options.strict, "unknown systems and files that are no cases are failures");
  app.add_option("--dump", options.dump, "write what was computed to DIR/<system>/<case>.safetensors")
      ->type_name("DIR");
  const std::map<std::string, aulos::Numeric> modes{
      {"exact", aulos::Numeric::exact}, {"bf16", aulos::Numeric::bf16}, {"int8", aulos::Numeric::int8}};
  app.add_option("--numeric", options.numeric, "what weights are packed in and products may round: exact, bf16 or int8")
      ->transform(CLI::CheckedTransformer(modes).description(""))
      ->type_name("MODE");
  return run_program(app, argc, argv, [&] {
    if (list) return list_systems();
    if (options.paths.empty()) throw CLI::RequiredError("paths");
    options.has_tolerance = tolerance->count() > 0;
    if (options.numeric != aulos::Numeric::exact) {
      options.gradients = false;
      if (!options.has_tolerance) options.tolerance = 1e30;
      options.has_tolerance = true;
    }
    return run(options);
  });
}
