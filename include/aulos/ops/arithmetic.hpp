// Arithmetic between tensors: add, subtract, multiply, divide with broadcasting, scaling, linear combinations.
#pragma once

#include <array>
#include <span>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/elementwise.hpp"
#include "aulos/kernels/reduce.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// Extents of a op b, and a and b with stride 0 along the axes that repeat.
struct Broadcast {
  Dims y, a, b;
};

inline Broadcast broadcast(const Op& op, const Dims& a, const Dims& b) {
  Broadcast out{a, a, b};
  op.require(a.rank == b.rank, [&] { return concat_text({"a ", a, " and b ", b, " differ in rank"}); });
  for (int axis = 0; axis < a.rank; ++axis) {
    op.require(a.extent[axis] == b.extent[axis] || a.extent[axis] == 1 || b.extent[axis] == 1, [&] {
      return concat_text({"a ", a, " and b ", b, " differ in axis ", axis, " and neither is 1"});
    });
    out.y.extent[axis] = a.extent[axis] == 1 ? b.extent[axis] : a.extent[axis];
    const auto repeat = [&](Dims& dims) {
      if (dims.extent[axis] == out.y.extent[axis]) return;
      dims.extent[axis] = out.y.extent[axis];
      dims.stride[axis] = 0;
    };
    repeat(out.a);
    repeat(out.b);
  }
  out.y.make_dense();
  return out;
}

// f(a, b) without a gradient rule: what rules are made of.
template <Real T, class F>
AnyTensor<T> binary(Context& context, const char* name, const AnyTensor<T>& a, const Dims& a_dims,
                    const AnyTensor<T>& b, const Dims& b_dims, AnyTensor<T> y, const F& f) {
  context.run(name, cost_per_element<T>(y.count(), 1, 3), [&](Threads threads) {
    kernels::binary(threads, a.data(), a_dims, b.data(), b_dims, y.mutable_data(), y.dims(), f);
  });
  return y;
}

// The gradient of an argument that was repeated: the sum over the axes that repeat it.
template <Real T>
void give_broadcast(GradTape& tape, const Ghost<T>& x, AnyTensor<T> gradient) {
  if (!x) return;
  if (x.dims.same_extents(gradient.dims())) return tape.give(x, std::move(gradient));
  Ghost<T> repeated = x;
  for (int axis = 0; axis < x.dims.rank; ++axis) {
    if (x.dims.extent[axis] == gradient.extent(axis)) continue;
    repeated.dims.extent[axis] = gradient.extent(axis);
    repeated.dims.stride[axis] = 0;
  }
  tape.add(repeated, gradient);
}

template <Real T, class F>
AnyTensor<T> elementwise(const Op& op, const char* name, const AnyTensor<T>& a, const AnyTensor<T>& b, const F& f) {
  const Broadcast at = broadcast(op, a.dims(), b.dims());
  return binary(op.context(), name, a, at.a, b, at.b, op.empty<T>(at.y), f);
}

template <Real T>
AnyTensor<T> add(const AnyTensor<T>& a, const AnyTensor<T>& b) {
  Op op("add", arg("a", a), arg("b", b));
  AnyTensor<T> y = elementwise(op, "add", a, b, kernels::Add{});
  if (op.recording()) {
    op.record(y, [ga = op.ghost(a), gb = op.ghost(b)](GradTape& tape, AnyTensor<T> gy) {
      give_broadcast(tape, ga, gy);
      give_broadcast(tape, gb, std::move(gy));
    });
  }
  return op.result(std::move(y));
}

// y = constant + sum_i factor_i x_i. At most eight terms of equal extents.
template <Real T>
AnyTensor<T> linear_combination(std::span<const AnyTensor<T>> x, std::span<const T> factors, T constant = T{0}) {
  constexpr std::size_t most = 8;
  if (x.empty() || x.size() > most || x.size() != factors.size())
    throw ShapeError(concat_text(
        {"linear_combination: expected 1 to 8 terms and as many factors, got ", x.size(), " and ", factors.size()}));
  const AnyTensor<T> none;
  const auto term = [&](std::size_t i) { return optional_arg("x", i < x.size() ? x[i] : none); };
  Op op("linear_combination", arg("x", x[0]), term(1), term(2), term(3), term(4), term(5), term(6), term(7));
  std::array<AnyTensor<T>, most> dense;
  for (std::size_t i = 0; i < x.size(); ++i) {
    op.require(!x[i].empty(), [&] { return concat_text({"x[", i, "] is empty (moved from?)"}); });
    op.require(x[i].dims().same_extents(x[0].dims()), [&] {
      return concat_text({"x[0] ", x[0].dims(), " and x[", i, "] ", x[i].dims(), " differ"});
    });
    dense[i] = op.dense(x[i]);
  }
  AnyTensor<T> y = op.like(x[0]);
  const double terms = static_cast<double>(x.size());
  op.run(cost_per_element<T>(y.count(), 2 * terms, terms + 1), [&](Threads threads) {
    std::array<kernels::Term<T>, most> list{};
    for (std::size_t i = 0; i < x.size(); ++i) list[i] = {factors[i], dense[i].data()};
    kernels::linear_combination(threads, std::span<const kernels::Term<T>>(list.data(), x.size()), constant,
                                y.mutable_data(), y.count());
  });
  if (op.recording()) {
    std::array<Ghost<T>, most> ghosts;
    std::array<T, most> by{};
    for (std::size_t i = 0; i < x.size(); ++i) {
      ghosts[i] = op.ghost(x[i]);
      by[i] = factors[i];
    }
    op.record(y, [ghosts, by](GradTape& tape, AnyTensor<T> gy) {
      for (std::size_t i = 0; i < most; ++i) {
        if (!ghosts[i]) continue;
        tape.give(ghosts[i], linear_combination<T>(std::span(&gy, 1), std::span(&by[i], 1)));
      }
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> subtract(const AnyTensor<T>& a, const AnyTensor<T>& b) {
  Op op("subtract", arg("a", a), arg("b", b));
  AnyTensor<T> y = elementwise(op, "subtract", a, b, kernels::Subtract{});
  if (op.recording()) {
    op.record(y, [ga = op.ghost(a), gb = op.ghost(b)](GradTape& tape, AnyTensor<T> gy) {
      const T minus{-1};
      if (gb) give_broadcast(tape, gb, linear_combination<T>(std::span(&gy, 1), std::span(&minus, 1)));
      give_broadcast(tape, ga, std::move(gy));
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> multiply(const AnyTensor<T>& a, const AnyTensor<T>& b) {
  Op op("multiply", arg("a", a), arg("b", b));
  AnyTensor<T> y = elementwise(op, "multiply", a, b, kernels::Multiply{});
  if (op.recording()) {
    op.record(y, [a, b, ga = op.ghost(a), gb = op.ghost(b)](GradTape& tape, AnyTensor<T> gy) {
      if (ga) give_broadcast(tape, ga, multiply(gy, b));
      if (gb) give_broadcast(tape, gb, multiply(gy, a));
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> divide(const AnyTensor<T>& a, const AnyTensor<T>& b) {
  Op op("divide", arg("a", a), arg("b", b));
  AnyTensor<T> y = elementwise(op, "divide", a, b, kernels::Divide{});
  if (op.recording()) {
    op.record(y, [a, b, ga = op.ghost(a), gb = op.ghost(b)](GradTape& tape, AnyTensor<T> gy) {
      AnyTensor<T> over = divide(gy, b);  // gy / b
      if (gb) {
        const T minus{-1};
        AnyTensor<T> g = multiply(over, divide(a, b));
        give_broadcast(tape, gb, linear_combination<T>(std::span(&g, 1), std::span(&minus, 1)));
      }
      give_broadcast(tape, ga, std::move(over));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// Elementwise, with axes of extent 1 repeated: torch.add, sub, mul, div. Ranks must be equal.
template <Real T, int Rank>
Tensor<T, Rank> add(const Tensor<T, Rank>& a, const Arg<Tensor<T, Rank>>& b) {
  return Tensor<T, Rank>(any::add(a.any(), b.any()));
}
template <Real T, int Rank>
Tensor<T, Rank> subtract(const Tensor<T, Rank>& a, const Arg<Tensor<T, Rank>>& b) {
  return Tensor<T, Rank>(any::subtract(a.any(), b.any()));
}
template <Real T, int Rank>
Tensor<T, Rank> multiply(const Tensor<T, Rank>& a, const Arg<Tensor<T, Rank>>& b) {
  return Tensor<T, Rank>(any::multiply(a.any(), b.any()));
}
template <Real T, int Rank>
Tensor<T, Rank> divide(const Tensor<T, Rank>& a, const Arg<Tensor<T, Rank>>& b) {
  return Tensor<T, Rank>(any::divide(a.any(), b.any()));
}

// factor * x + constant.
template <Real T, int Rank>
Tensor<T, Rank> scale(const Tensor<T, Rank>& x, std::type_identity_t<T> factor,
                      std::type_identity_t<T> constant = T{0}) {
  return Tensor<T, Rank>(any::linear_combination<T>(std::span(&x.any(), 1), std::span(&factor, 1), constant));
}

// sum_i factors[i] * x[i] over equal extents, in one pass: what a sampler step is.
template <Real T, int Rank, std::size_t Count>
Tensor<T, Rank> linear_combination(const std::array<Tensor<T, Rank>, Count>& x, const std::array<T, Count>& factors) {
  std::array<AnyTensor<T>, Count> terms;
  for (std::size_t i = 0; i < Count; ++i) terms[i] = x[i].any();
  return Tensor<T, Rank>(any::linear_combination<T>(std::span<const AnyTensor<T>>(terms), std::span<const T>(factors)));
}

}  // namespace aulos::inline AULOS_ISA
