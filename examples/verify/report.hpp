// Comparing a computed case with its file, and writing what was computed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "aulos/registry.hpp"

namespace verify {

// The judgement of one tensor: RMS(error) <= tolerance * RMS(reference), non-finite entries in the same places,
// integers equal. The largest error is information.
struct Verdict {
  std::string tensor;
  bool passed = false;
  double max_abs = 0;
  double rms_ratio = 0;
  std::string reason;  // of a failure that is no matter of tolerance
};

struct CaseReport {
  std::string system, name;
  std::vector<Verdict> verdicts;
  std::string error;  // what stopped the computation
  bool passed() const;
};

// Judges every output/*, grad_input/* and grad_param/* of the file; t from the command line, the case, or 2e-5.
CaseReport judge(const aulos::io::Checkpoint& file, const std::map<std::string, aulos::CaseValues>& computed,
                 std::optional<double> tolerance);

// Writes what was computed, under exactly the file's names and shapes, to `folder`/<system>/<case>.safetensors.
void dump(const std::string& folder, const std::string& system, const std::string& name,
          const aulos::io::Checkpoint& file, const std::map<std::string, aulos::CaseValues>& computed);

}  // namespace verify
