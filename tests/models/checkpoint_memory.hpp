// Checkpoints in memory, made of a model's parameters.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "aulos/io/safetensors.hpp"
#include "aulos/nn/module.hpp"

namespace aulos_tests {

struct StoredTensor {
  std::vector<aulos::Index> shape;
  std::vector<float> values;
};
using StoredTensors = std::map<std::string, StoredTensor>;

template <class Model>
StoredTensors stored_tensors(const Model& model, const std::string& prefix = "") {
  StoredTensors tensors;
  aulos::nn::for_each_parameter(model, [&](const auto& p) {
    tensors[prefix + p.name] = {p.shape, {p.any().data(), p.any().data() + p.count()}};
  });
  return tensors;
}

// Holds the bytes; what it opens must not outlive it.
class CheckpointMemory {
 public:
  explicit CheckpointMemory(const StoredTensors& tensors, const aulos::io::Metadata& metadata = {}) {
    std::vector<aulos::io::SaveTensor> list;
    for (const auto& [name, stored] : tensors)
      list.push_back({name, aulos::Dtype::f32, stored.shape, std::as_bytes(std::span(stored.values))});
    bytes_ = aulos::io::serialize(list, metadata);
  }
  aulos::io::Checkpoint open() const { return aulos::io::Checkpoint::from_bytes(bytes_, "model.safetensors"); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace aulos_tests
