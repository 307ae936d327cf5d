// Which kind of condition a model is given.
#pragma once

#include <cstdint>

#include "aulos/core/config.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/embedding.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// A row per modality (mask, sketch, ..), added to the conditioning vector: MMFace-DiT.
template <Real T>
struct ModalityEmbedding {
  Parameter<T, 2> weight;  // [modalities, C]

  ModalityEmbedding() = default;
  ModalityEmbedding(Index modalities, Index channels) : weight(Shape<2>{modalities, channels}) {}

  // ids [B] -> [B, C]
  Tensor<T, 2> operator()(const Tensor<std::int64_t, 1>& ids) const { return embedding(weight.tensor(), ids); }
  void visit(auto&& v) { v("weight", weight); }
  bool operator==(const ModalityEmbedding&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
