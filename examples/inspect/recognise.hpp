// Which systems a checkpoint holds, or which one it comes nearest to.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "inspect/layout.hpp"

namespace inspect {

// A checkpoint's tensors below a prefix, as a system.
struct Part {
  std::string prefix;
  const Layout* layout = nullptr;
  Description description;
  Index tensors = 0;                         // below the prefix
  Index wanted = 0, found = 0, fitting = 0;  // names of the system; those in the file; those of the right shape
  bool loads = false;                        // as the system's loader has it: nothing missing, unexpected or misshapen
  std::string open;                          // why the shapes tell no configuration, where they don't
};

struct Recognition {
  std::string golden;         // the system of a golden case, which is no model: `verify` computes it
  std::vector<Part> parts;    // those that load, the largest first
  Index others = 0;           // tensors outside of them
  std::vector<Part> nearest;  // where none loads: of each system that has a tenth of its names here, the best fit
  aulos::io::LoadReport difference = {};  // from the first of them
};

// Reads no values. `config` is a config.json that lies beside the file, if there is one.
Recognition recognise(const Layouts& layouts, const aulos::io::Checkpoint& checkpoint,
                      const std::optional<aulos::io::json::Value>& config);

}  // namespace inspect
