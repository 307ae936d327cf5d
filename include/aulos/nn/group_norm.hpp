// Norms of channels in front of positions, as modules.
#pragma once

#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/ops/group_norm.hpp"

namespace aulos::inline AULOS_ISA::nn {

// A norm over groups of channels and all positions of x [B, C, ..]. torch.nn.GroupNorm; one group is the global layer
// norm of speech separation.
template <Real T>
struct GroupNorm {
  using value_type = T;

  Parameter<T, 1> weight, bias;  // [C], absent without affine
  Index groups = 1;
  double eps = 1e-5;

  GroupNorm() = default;
  GroupNorm(Index group_count, Index channels, double epsilon = 1e-5, Affine affine = Affine::yes)
      : groups(group_count), eps(epsilon) {
    if (groups < 1 || channels % groups != 0)
      throw ConfigError("GroupNorm: " + std::to_string(groups) + " groups of " + std::to_string(channels) +
                        " channels");
    if (affine == Affine::no) return;
    weight = Parameter<T, 1>(Shape<1>{channels});
    bias = Parameter<T, 1>(Shape<1>{channels});
  }

  template <int Rank>
  Tensor<T, Rank> operator()(const Tensor<T, Rank>& x) const {
    return group_norm(x, groups, weight, bias, eps);
  }

  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  bool operator==(const GroupNorm&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::nn
