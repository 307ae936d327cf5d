// Filling a module from a checkpoint, and writing one.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/dtype.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/nn/module.hpp"

namespace aulos::inline AULOS_ISA::nn {

// Loads every parameter of `module` by its official name. All or nothing: when names are missing or unexpected, or
// shapes or dtypes do not fit, a CheckpointError lists them all and the module is as before.
template <Module M>
void load_parameters(M& module, const io::Checkpoint& checkpoint, const io::LoadOptions& options = {}) {
  std::vector<io::WantedTensor> wanted;
  for_each_parameter(module, [&](const auto& p) {
    const auto presence = p.role == Role::parameter ? io::Presence::required : io::Presence::optional;
    wanted.push_back({p.name, p.shape, presence});
  });
  const std::vector<const io::TensorInfo*> found = io::match(wanted, checkpoint, options);
  M loaded = module;  // filled beside the module: a read error leaves it alone
  std::size_t i = 0;
  for_each_parameter(loaded, [&](const auto& p) {
    if (const io::TensorInfo* info = found[i++]) checkpoint.read(*info, p.data(), p.count());
  });
  module = std::move(loaded);
}

// Writes every parameter under its official name, converted to `dtype` (F32, F64, BF16, F16). The old file, if any, is
// replaced only when the new one is complete.
template <Module M>
void save_parameters(const M& module, const std::string& path, Dtype dtype, const io::Metadata& metadata = {}) {
  M rows = module;
  unpack(rows);
  std::vector<io::SaveTensor> tensors;
  std::vector<std::vector<std::byte>> bytes;
  for_each_parameter(rows, [&](const auto& p) {
    bytes.emplace_back(static_cast<std::size_t>(p.count() * bits(dtype) / 8));
    convert(p.any().data(), dtype, bytes.back().data(), p.count());
    tensors.push_back({p.name, dtype, p.shape, bytes.back()});
  });
  io::save(path, tensors, metadata);
}

}  // namespace aulos::inline AULOS_ISA::nn
