// PReLU with one slope.
#pragma once

#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/prelu.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

template <Real T>
AnyTensor<T> prelu(AnyTensor<T>&& x, const AnyTensor<T>& slope) {
  Op op("prelu", arg("x", x), arg("slope", slope));
  op.require(slope.count() == 1, [&] { return "slope " + to_string(slope.dims()) + ", expected [1]"; });
  const Ghost<T> gx = op.ghost(x);
  AnyTensor<T> from = op.dense(x);
  x = {};
  const bool in_place = !op.recording() && from.sole();
  AnyTensor<T> y = in_place ? op.reuse(std::move(from)) : op.like(from);
  op.run(cost_per_element<T>(y.count(), 2, 2), [&](Threads threads) {
    kernels::prelu<T>(threads, y.count(), in_place ? y.data() : from.data(), slope.data(), y.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [from, slope, gx, gslope = op.ghost(slope)](GradTape& tape, AnyTensor<T> gy) {
      Context& context = tape.context();
      AnyTensor<T> dx = wanted(context, Ghost<T>{gx.node, 0, gy.dims()});
      AnyTensor<T> dslope = gslope ? tape.into(gslope) : AnyTensor<T>{};
      const AnyTensor<double> partials = context.empty_any<double>(dense_dims({kernels::prelu_partials(gy.count())}));
      context.run("prelu_backward", cost_per_element<T>(gy.count(), 4, 3), [&](Threads threads) {
        kernels::prelu_backward<T>(threads, gy.count(), from.data(), slope.data(), gy.data(),
                                   dx.empty() ? nullptr : dx.mutable_data(),
                                   dslope.empty() ? nullptr : dslope.mutable_data(), partials.mutable_data());
      });
      tape.give(gx, std::move(dx));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// x where x > 0, else slope x; slope [1]. x is overwritten where nobody else holds it. torch.nn.functional.prelu.
template <Real T, int Rank>
Tensor<T, Rank> prelu(Tensor<T, Rank> x, const Arg<Tensor<T, 1>>& slope) {
  return Tensor<T, Rank>(any::prelu(std::move(x).any(), slope.any()));
}

}  // namespace aulos::inline AULOS_ISA
