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
  int calls = 0;  // timed one by one, in turn with a loop that takes as long; 0: none
  double call_p50_s = 0, call_p99_s = 0, loop_p50_s = 0, loop_p99_s = 0;
};

// One (work, dtype, threads) of one processor: ours, and the others in the order of their ratio, the best first.
struct Measurement {
  Row ours;
  std::vector<Row> peers;
  std::vector<Row> limits;  // copy, read or exp
};

// Adds the rows of a file's text; of what was measured twice the later one counts. Throws with the file and the line
// that can't be read.
void add_rows(std::vector<Row>& rows, const std::string& file, const std::string& text);

// Shares of a peak are of the best rate of its instruction in all rows of that processor and number of threads.
std::vector<Measurement> by_work(std::vector<Row> rows);

}  // namespace peers
