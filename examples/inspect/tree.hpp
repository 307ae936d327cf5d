// The modules of a checkpoint, from the names of its tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "aulos/io/checkpoint.hpp"

namespace inspect {

using aulos::Index;

// A tensor, or what the names below one part of a name have in common.
struct Module {
  std::string name;                               // "attn"; of a run of equal modules "0 .. 23"
  Index repeat = 1;                               // modules in the run; all else is of one of them
  std::vector<Module> modules;                    // those below, numbers in their order, other names by the alphabet
  const aulos::io::TensorInfo* tensor = nullptr;  // a tensor has no modules
  Index tensors = 0, values = 0, bytes = 0;
  std::uint32_t dtypes = 0;       // a bit for each aulos::Dtype
  std::uint64_t fingerprint = 0;  // of all below: names, shapes, dtypes
};

enum class Repeated { fold, list };

// The root, without a name.
Module module_tree(const aulos::io::Checkpoint& checkpoint, Repeated repeated);

// "BF16", "F32, BF16"
std::string dtype_names(std::uint32_t dtypes);

}  // namespace inspect
