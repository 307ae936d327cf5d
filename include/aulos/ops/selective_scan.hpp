// The selective scan of Mamba: a diagonal state space whose step size and input and output vectors depend on the token.
#pragma once

#include <array>
#include <span>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/selective_scan_backward.hpp"
#include "aulos/ops/state.hpp"

namespace aulos::inline AULOS_ISA {

struct SelectiveScanOptions {
  kernels::StepSize step = kernels::StepSize::softplus;  // of delta + delta_bias
};

// What may be absent: the skip d [C], the gate z [B, L, C], delta_bias [C], the state before the first token [B, C, N].
template <Real T>
struct SelectiveScanExtras {
  Tensor<T, 1> d{};
  Tensor<T, 3> z{};
  Tensor<T, 1> delta_bias{};
  Tensor<T, 3> initial{};
};

// out [B, L, C], last [B, C, N].
template <Real T>
struct SelectiveScanResult {
  Tensor<T, 3> out, last;
};

namespace any {

template <Real T>
struct SelectiveScan {
  kernels::SelectiveScanShape shape;
  AnyTensor<T> u, delta, a, b, c, d, z, bias, initial;

  static constexpr std::size_t arguments = 9;  // in the order of the members

  Cost cost(double flops, double passes, std::size_t scratch) const {
    const double rows = static_cast<double>(shape.batch * shape.tokens);
    const double states = static_cast<double>(shape.states), channels = static_cast<double>(shape.channels);
    const double elements = rows * (4 * channels + 2 * states * static_cast<double>(shape.groups)) +
                            2 * static_cast<double>(shape.batch) * channels * states;
    return {flops * rows * channels * (states + 1), passes * elements * static_cast<double>(sizeof(T)), scratch};
  }
  kernels::SelectiveScanOperands<T> operands() const {
    return {token_rows<const T>(u), token_rows<const T>(delta), data_or_null(a),
            token_rows<const T>(b), token_rows<const T>(c),     data_or_null(d),
            token_rows<const T>(z), data_or_null(bias),         data_or_null(initial)};
  }
  // dy: of out, of the last state.
  void backward(GradTape& tape, const std::array<Ghost<T>, arguments>& ghosts, std::span<const AnyTensor<T>> dy) const {
    Context& context = tape.context();
    std::array<AnyTensor<T>, arguments> g;
    for (std::size_t i = 0; i < arguments; ++i) g[i] = gradient_of(context, ghosts[i]);
    const AnyTensor<T> workspace =
        context.empty_any<T>(dense_dims({kernels::selective_scan_backward_workspace(shape)}));
    const Cost total = cost(50, 3, kernels::selective_scan_backward_scratch<T>(shape));
    context.run("selective_scan_backward", total, [&](Threads threads) {
      const kernels::SelectiveScanGradients<T> to{token_rows<const T>(dy[0]), data_or_null(dy[1]), token_rows<T>(g[0]),
                                                  token_rows<T>(g[1]),        token_rows<T>(g[6]), data_or_null(g[2]),
                                                  token_rows<T>(g[3]),        token_rows<T>(g[4]), data_or_null(g[5]),
                                                  data_or_null(g[7]),         data_or_null(g[8])};
      kernels::selective_scan_backward<T>(threads, shape, operands(), to, workspace.mutable_data());
    });
    for (std::size_t i = 0; i < arguments; ++i) tape.give(ghosts[i], std::move(g[i]));
  }
};

template <Real T>
SelectiveScanResult<T> selective_scan(const AnyTensor<T>& u, const AnyTensor<T>& delta, const AnyTensor<T>& a,
                                      const AnyTensor<T>& b, const AnyTensor<T>& c, const SelectiveScanOptions& options,
                                      SelectiveScanExtras<T> extras, LastState last) {
  const AnyTensor<T>&d = extras.d.any(), &z = extras.z.any(), &bias = extras.delta_bias.any();
  AnyTensor<T> initial = std::move(extras.initial).any();
  const Op op("selective_scan", arg("u", u), arg("delta", delta), arg("a", a), arg("b", b), arg("c", c),
              optional_arg("d", d), optional_arg("z", z), optional_arg("delta_bias", bias),
              optional_arg("initial", initial));
  const Index batch = u.extent(0), tokens = u.extent(1), channels = u.last(), states = a.last();
  const Index groups = b.rank() == 4 ? b.extent(2) : 1;
  const Dims state_dims = dense_dims({batch, channels, states}), channel = dense_dims({channels});
  require_extents(op, "delta", delta, u.dims());
  require_extents(op, "a", a, dense_dims({channels, states}));
  const Dims vectors =
      b.rank() == 4 ? dense_dims({batch, tokens, groups, states}) : dense_dims({batch, tokens, states});
  require_extents(op, "b", b, vectors);
  require_extents(op, "c", c, vectors);
  op.require(groups > 0 && channels % groups == 0, [&] {
    return "b " + to_string(b.dims()) + ": the " + std::to_string(channels) + " channels of u are not in " +
           std::to_string(groups) + " equal groups";
  });
  require_extents(op, "d", d, channel);
  require_extents(op, "z", z, u.dims());
  require_extents(op, "delta_bias", bias, channel);
  require_extents(op, "initial", initial, state_dims);
  StatePair<T> state(op, std::move(initial), state_dims, last);
  SelectiveScan<T> run{{batch, tokens, channels, states, groups, options.step},
                       u,
                       delta,
                       op.dense(a),
                       b,
                       c,
                       d,
                       z,
                       bias,
                       std::move(state.from)};
  AnyTensor<T> out = op.like(u);
  op.run(run.cost(20, 1, kernels::selective_scan_scratch<T>(run.shape)), [&](Threads threads) {
    kernels::selective_scan<T>(threads, run.shape, run.operands(), token_rows<T>(out), data_or_null(state.to));
  });
  if (op.recording()) {
    const std::array<Ghost<T>, SelectiveScan<T>::arguments> ghosts{op.ghost(u), op.ghost(delta), op.ghost(a),
                                                                   op.ghost(b), op.ghost(c),     op.ghost(d),
                                                                   op.ghost(z), op.ghost(bias),  state.ghost};
    op.record(std::array<AnyTensor<T>*, 2>{&out, &state.to},
              [run, ghosts](GradTape& tape, std::span<AnyTensor<T>> dy) { run.backward(tape, ghosts, dy); });
  }
  SelectiveScanResult<T> result{Tensor<T, 3>(op.result(std::move(out))), {}};
  run = {};  // lets go of the initial state, so that the result holds its memory alone
  if (!state.to.empty()) result.last = Tensor<T, 3>(std::move(state.to));
  return result;
}

}  // namespace any

// h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t, out_t = (C_t . h_t + D u_t) silu(z_t), dt = softplus(delta + delta_bias).
// u, delta [B, L, C], a [C, N] (negative: -exp(A_log)), b, c [B, L, N], or [B, L, G, N] for G groups of channels
// -> [B, L, C]. Tokens first: mamba_ssm's selective_scan_fn has them last.
template <Real T, int Rank>
Tensor<T, 3> selective_scan(const Tensor<T, 3>& u, const Arg<Tensor<T, 3>>& delta, const Arg<Tensor<T, 2>>& a,
                            const Tensor<T, Rank>& b, const Arg<Tensor<T, Rank>>& c,
                            const SelectiveScanOptions& options = {},
                            std::type_identity_t<SelectiveScanExtras<T>> extras = {}) {
  static_assert(Rank == 3 || Rank == 4, "b and c are [B, L, N] or [B, L, G, N]");
  return any::selective_scan<T>(u.any(), delta.any(), a.any(), b.any(), c.any(), options, std::move(extras),
                                any::LastState::skip)
      .out;
}

// The same and the state behind the last token, from which the next call goes on: in segments, or token by token. An
// initial state that the caller gives up (std::move) is written in place.
template <Real T, int Rank>
SelectiveScanResult<T> selective_scan_with_state(const Tensor<T, 3>& u, const Arg<Tensor<T, 3>>& delta,
                                                 const Arg<Tensor<T, 2>>& a, const Tensor<T, Rank>& b,
                                                 const Arg<Tensor<T, Rank>>& c,
                                                 const SelectiveScanOptions& options = {},
                                                 std::type_identity_t<SelectiveScanExtras<T>> extras = {}) {
  static_assert(Rank == 3 || Rank == 4, "b and c are [B, L, N] or [B, L, G, N]");
  return any::selective_scan<T>(u.any(), delta.any(), a.any(), b.any(), c.any(), options, std::move(extras),
                                any::LastState::keep);
}

}  // namespace aulos::inline AULOS_ISA
