// What our own programs of bench/ have written, read back: Google Benchmark's JSON.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace peers {

struct Result {
  std::string name, label;
  int threads = 1;
  double seconds = 0;
  double flops = 0, bytes = 0;                             // a second; 0: not counted
  double peak_share = 0;                                   // 0: not known
  std::vector<std::pair<std::string, double>> counters{};  // the other ones
};

// One run of one program.
struct Run {
  std::string program, processor;
  std::map<std::string, double> peaks{};  // GFLOP/s of a thread, by instruction
  double copy = 0;                        // bytes a second, read and written
  std::vector<Result> results{};
};

// Adds the run that a file's text holds, in place of an older one of the same program and processor. False where it is
// none; throws where it is a broken one.
bool add_run(std::vector<Run>& runs, const std::string& file, const std::string& text);

}  // namespace peers
