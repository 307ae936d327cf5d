// The arguments of the harness.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace peers {

// What can be measured beside ours, and where it comes from; `./dev bench peers --install` brings all of them.
struct KnownPeer {
  const char *name, *source;
};
inline constexpr KnownPeer known_peers[] = {{"eigen", "libeigen3-dev"},
                                            {"onednn", "libdnnl-dev"},
                                            {"torch", "libtorch-dev"},
                                            {"libxsmm", "libxsmm-dev"},
                                            {"openblas", "libopenblas-dev"},
                                            {"blis", "libblis-dev"},
                                            {"onnxruntime", "npm onnxruntime-node"},
                                            {"ggml", "npm @node-llama-cpp/linux-x64"}};

// Wall time, or that of the calling thread alone, which leaves out what others of a busy machine take. The latter is
// for one thread: then all peers work on the caller.
enum class Clock { wall, thread };

struct Options {
  std::string json;  // empty: standard output
  std::vector<std::string> require;
  std::vector<int> threads;
  std::filesystem::path plugins;
  Clock clock = Clock::wall;
  double seconds = 1;   // of rounds of one work in one dtype, unless the fewest rounds take longer
  double minutes = 20;  // of the whole run: rounds become fewer where it would take longer
  std::string regex = ".";
};

class UsageError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr const char* usage =
    "usage: peers [--json FILE] [--require NAMES] [--threads LIST] [--seconds S] [--minutes M] [--clock wall|thread]\n"
    "             [--plugins FOLDER] [REGEX]\n";

// Throws UsageError.
Options parse(int argc, char** argv);

}  // namespace peers
