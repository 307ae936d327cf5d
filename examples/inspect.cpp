// inspect: what a checkpoint holds, which system it is and what that would cost; reads no values.
//
//     inspect [--height H --width W --tokens N --samples N --batch B] [--depth N | --full] [--json] PATH...
//
// A PATH is a *.safetensors file, the *.index.json of a sharded one, or a folder, where all of these are looked for.
// Exit 0: every file was read. 1: one could not be. 2: usage.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "aulos/io/json.hpp"
#include "common/cli.hpp"
#include "inspect/families.hpp"
#include "inspect/recognise.hpp"
#include "inspect/report.hpp"

namespace {

using namespace aulos_examples;
namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> paths;
  inspect::ReportOptions report;
  bool json = false;
};

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

constexpr const char* pickled_endings[] = {".pt", ".pth", ".ckpt", ".bin"};

std::string conversion_hint(const std::string& path) {
  fs::path to = path;
  to.replace_extension(".safetensors");
  return ": python3 tools/to_safetensors.py " + path + " -o " + to.string();
}

// The checkpoints in a folder: indices, and files that no index lists.
std::vector<std::string> checkpoints_in(const std::string& folder) {
  std::vector<std::string> files, indices, pickled;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const std::string path = entry.path().string();
    if (ends_with(path, ".safetensors")) files.push_back(path);
    if (ends_with(path, ".safetensors.index.json")) indices.push_back(path);
    for (const char* ending : pickled_endings)
      if (ends_with(path, ending)) pickled.push_back(path);
  }
  std::set<std::string> shards;
  for (const std::string& path : indices) {
    try {
      const auto index = aulos::io::parse_shard_index(path, aulos::io::read_text(path, aulos::io::max_header_bytes));
      for (const std::string& file : index.files) shards.insert((fs::path(path).parent_path() / file).string());
    } catch (const aulos::Error&) {  // said when it is opened
    }
  }
  std::vector<std::string> found = indices;
  for (const std::string& file : files)
    if (shards.count(file) == 0) found.push_back(file);
  std::sort(found.begin(), found.end());
  std::sort(pickled.begin(), pickled.end());
  if (found.empty() && !pickled.empty())
    throw aulos::CheckpointError(folder + ": no safetensors file, but " + pickled.front() +
                                 " is pickled: convert it to safetensors" + conversion_hint(pickled.front()));
  if (found.empty()) throw aulos::CheckpointError(folder + ": no safetensors file in the folder");
  return found;
}

// The config.json beside a checkpoint, as diffusers and transformers write it.
std::optional<aulos::io::json::Value> config_beside(const std::string& path) {
  const fs::path file = fs::path(path).parent_path() / "config.json";
  std::error_code error;
  if (!fs::exists(file, error)) return {};
  try {
    return aulos::io::json::parse(aulos::io::read_text(file.string(), 1'000'000));
  } catch (const aulos::Error&) {  // another program's
    return {};
  }
}

void inspect_file(const inspect::Layouts& layouts, const std::string& path, const Options& options) {
  const auto checkpoint = aulos::io::Checkpoint::open(path);
  const inspect::Recognition recognition = inspect::recognise(layouts, checkpoint, config_beside(path));
  const auto report = options.json ? inspect::json_report : inspect::text_report;
  std::fputs(report(checkpoint, recognition, options.report).c_str(), stdout);
}

int run(const Options& options) {
  const inspect::Layouts layouts = inspect::all_layouts();
  int status = kSuccess;
  bool is_first = true;
  const auto attempt = [&](const std::string& path, const auto& body) {
    try {
      body();
    } catch (const aulos::Error& error) {
      std::string message = error.what();
      const std::string end = "convert it to safetensors";
      if (ends_with(message, end) && message.find("PyTorch") != std::string::npos) message += conversion_hint(path);
      report("inspect", message);
      status = kFailure;
      if (!options.json) return;
      aulos::io::json::Writer json;
      json.begin_object().key("file").value(path).key("error").value(message).end_object();
      std::printf("%s\n", json.take().c_str());
    }
  };
  for (const std::string& path : options.paths) {
    attempt(path, [&] {
      std::error_code error;
      const bool is_folder = fs::is_directory(path, error);
      for (const std::string& file : is_folder ? checkpoints_in(path) : std::vector<std::string>{path}) {
        attempt(file, [&] {
          if (!std::exchange(is_first, false) && !options.json) std::printf("\n");
          inspect_file(layouts, file, options);
        });
      }
    });
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* problem = aulos::unsupported_processor()) return report("inspect", problem);
  CLI::App app("Shows what a checkpoint holds, which system it is and what that would cost. Reads no values.",
               "inspect");
  Options options;
  inspect::Request& request = options.report.request;
  constexpr aulos::Index most = 1 << 20;
  app.add_option("paths", options.paths, "*.safetensors, *.safetensors.index.json, or folders")->required();
  add_number(app, "--height", request.height, 0, most, "of the picture to plan for, in pixels; 0: the system's own");
  add_number(app, "--width", request.width, 0, most, "likewise");
  add_number(app, "--tokens", request.tokens, 0, most, "of the prompt; 0: the system's own");
  add_number(app, "--samples", request.samples, 0, aulos::Index{1} << 30, "of the sound; 0: 32000");
  add_number(app, "--batch", request.batch, 1, most, "examples at a time");
  add_number(app, "--depth", options.report.depth, 1, 32, "levels of modules to show");
  app.add_flag("--full", options.report.full, "every tensor and every difference");
  app.add_flag("--json", options.json, "one JSON object a line for each file");
  return run_program(app, argc, argv, [&] { return run(options); });
}
