// What the harness has written, read back.
#pragma once

#include <string>
#include <vector>

namespace peers {

struct Row {
  std::string work, dtype, peer, version, processor, instruction;
  int threads = 1;
  double median_s = 0, min_s = 0, p99_s = 0, gflops = 0, peak = 0, peak_share = 0;
  double ratio = 0;  // 0: there was nothing to compare with
  double err = 0;
};

// One (work, dtype, threads) of one processor: ours, and the others in the order of their ratio, the best first.
struct Measurement {
  Row ours;
  std::vector<Row> peers;
  std::vector<Row> memory;  // copy or read
};

// Throws with the file and the line that can't be read. Of what was measured twice the later one counts.
std::vector<Measurement> read_measurements(const std::vector<std::string>& files);

}  // namespace peers
