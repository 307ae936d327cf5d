#include "bench/peers/options.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <sstream>
#include <thread>

namespace peers {
namespace {

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

double number(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value > 0)) {
    throw UsageError(option + " takes a number above 0, not \"" + text + '"');
  }
  return value;
}

}  // namespace

Options parse(int argc, char** argv) {
  Options options;
  options.plugins = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  bool have_regex = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw UsageError(option + " needs a value");
      return argv[++i];
    };
    if (option == "--json") {
      options.json = value();
    } else if (option == "--require") {
      options.require = split(value());
      for (const std::string& name : options.require) {
        const auto same = [&](const KnownPeer& peer) { return peer.name == name; };
        if (std::none_of(std::begin(known_peers), std::end(known_peers), same)) {
          throw UsageError("--require: no peer is called \"" + name + '"');
        }
      }
    } else if (option == "--threads") {
      for (const std::string& text : split(value())) options.threads.push_back(static_cast<int>(number(option, text)));
    } else if (option == "--seconds") {
      options.seconds = number(option, value());
    } else if (option == "--minutes") {
      options.minutes = number(option, value());
    } else if (option == "--clock") {
      const std::string clock = value();
      if (clock != "wall" && clock != "thread") throw UsageError("--clock takes wall or thread, not \"" + clock + '"');
      options.clock = clock == "wall" ? Clock::wall : Clock::thread;
    } else if (option == "--plugins") {
      options.plugins = value();
    } else if (option.starts_with("-") || have_regex) {
      throw UsageError("unexpected argument " + option);
    } else {
      options.regex = option;
      have_regex = true;
    }
  }
  if (options.threads.empty()) {
    options.threads = {1};
    if (std::thread::hardware_concurrency() > 1) options.threads.push_back(2);
  }
  if (options.clock == Clock::thread && *std::max_element(options.threads.begin(), options.threads.end()) > 1) {
    throw UsageError("--clock thread is for --threads 1");
  }
  return options;
}

}  // namespace peers
