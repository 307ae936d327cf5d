// Linear attention and the delta rule: attention whose past is a state of fixed size.
#pragma once

#include <array>
#include <span>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/delta_rule_backward.hpp"
#include "aulos/kernels/linear_attention_backward.hpp"
#include "aulos/ops/state.hpp"

namespace aulos::inline AULOS_ISA {

// phi of queries and keys: none (they are features already), elu(x) + 1 or relu(x).
enum class FeatureMap { none, elu_plus_one, relu };

struct LinearAttentionOptions {
  kernels::LinearForm form = kernels::LinearForm::full;
  kernels::Normaliser normaliser = kernels::Normaliser::score_sum;
  double scale = 1.0;                     // of q
  double eps = 1e-6;                      // added to the sum of the scores
  FeatureMap feature = FeatureMap::none;  // applied within the kernel: no pass over the memory of its own
};

// kv [B, H, D, E] = sum_j k_j v_j^T and, with a normaliser, sum [B, H, D] = sum_j k_j.
template <Real T>
struct LinearAttentionState {
  Tensor<T, 4> kv;
  Tensor<T, 3> sum;
};

// What may be absent. decay [H]: the factor of the state from token to token, causal form only; keep [B, Nk]: 0 drops
// a key (the state decays past it); initial: what was seen before.
template <Real T>
struct LinearAttentionExtras {
  Tensor<T, 1> decay{};
  Tensor<std::uint8_t, 2> keep{};
  LinearAttentionState<T> initial{};
};

template <Real T>
struct LinearAttentionResult {
  Tensor<T, 4> out;
  LinearAttentionState<T> last;
};

struct DeltaRuleOptions {
  double scale = 1.0;  // of q
};

// state [B, H, D, E].
template <Real T>
struct DeltaRuleResult {
  Tensor<T, 4> out, last;
};

namespace any {

// ---- linear attention

template <Real T>
kernels::LinearFeature<T> linear_feature(FeatureMap map) {
  switch (map) {
    case FeatureMap::elu_plus_one:
      return kernels::linear_feature<T, simd::EluPlusOne>();
    case FeatureMap::relu:
      return kernels::linear_feature<T, simd::Relu>();
    case FeatureMap::none:
      break;
  }
  return {};
}

template <Real T>
struct LinearAttention {
  kernels::LinearAttentionShape shape;
  kernels::LinearFeature<T> feature;
  AnyTensor<T> q, k, v, decay;
  AnyTensor<std::uint8_t> keep;
  AnyTensor<T> initial_kv, initial_sum, out;

  double head_flops() const {
    const double d = static_cast<double>(shape.width), e = static_cast<double>(shape.value_width);
    const double tokens = static_cast<double>(shape.nq) + static_cast<double>(shape.nk);
    const double within = shape.form == kernels::LinearForm::causal ? static_cast<double>(shape.chunk()) * (d + e) : 0;
    return tokens * (2 * d * e + within);
  }
  Cost cost(double factor, double passes, std::size_t scratch) const {
    const double heads = static_cast<double>(shape.batch * shape.heads);
    const double row = static_cast<double>(shape.width + shape.value_width);
    const double elements =
        static_cast<double>(shape.nq + shape.nk) * row + 2.0 * static_cast<double>(shape.width * shape.columns());
    return {factor * heads * head_flops(), passes * heads * elements * static_cast<double>(sizeof(T)), scratch};
  }

  kernels::LinearAttentionOperands<T> operands() const {
    kernels::LinearAttentionOperands<T> in{token_rows<const T>(q), token_rows<const T>(k), token_rows<const T>(v)};
    in.decay = data_or_null(decay);
    if (!keep.empty()) in.keep = keep.data(), in.keep_batch = keep.stride(0);
    in.initial = {data_or_null(initial_kv), data_or_null(initial_sum)};
    in.feature = feature;
    return in;
  }

  // dy: of out, of the last kv, of the last sum.
  void backward(GradTape& tape, const std::array<Ghost<T>, 6>& ghosts, std::span<const AnyTensor<T>> dy) const {
    Context& context = tape.context();
    AnyTensor<T> dq = gradient_of(context, ghosts[0]), dk = gradient_of(context, ghosts[1]),
                 dv = gradient_of(context, ghosts[2]), ddecay = gradient_of(context, ghosts[3]),
                 dkv = gradient_of(context, ghosts[4]), dsum = gradient_of(context, ghosts[5]);
    const AnyTensor<T> parts =
        ddecay.empty() ? AnyTensor<T>{} : context.empty_any<T>(dense_dims({shape.batch, shape.heads}));
    const Cost total = cost(2.5, 3, kernels::linear_attention_backward_scratch<T>(shape));
    context.run("linear_attention_backward", total, [&](Threads threads) {
      const kernels::LinearAttentionGradients<T> to{token_rows<const T>(out),
                                                    token_rows<const T>(dy[0]),
                                                    {data_or_null(dy[1]), data_or_null(dy[2])},
                                                    token_rows<T>(dq),
                                                    token_rows<T>(dk),
                                                    token_rows<T>(dv),
                                                    {data_or_null(dkv), data_or_null(dsum)},
                                                    data_or_null(parts)};
      kernels::linear_attention_backward<T>(threads, shape, operands(), to);
      for (Index h = 0; h < shape.heads && !ddecay.empty(); ++h) {
        double sum = 0;
        for (Index b = 0; b < shape.batch; ++b) sum += static_cast<double>(parts.data()[b * shape.heads + h]);
        ddecay.mutable_data()[h] = static_cast<T>(sum);
      }
    });
    tape.give(ghosts[0], std::move(dq));
    tape.give(ghosts[1], std::move(dk));
    tape.give(ghosts[2], std::move(dv));
    tape.give(ghosts[3], std::move(ddecay));
    tape.give(ghosts[4], std::move(dkv));
    tape.give(ghosts[5], std::move(dsum));
  }
};

// q, k [B, N, H, D] and v [B, N, H, E] against each other.
template <Real T>
void check_heads(const Op& op, const AnyTensor<T>& q, const AnyTensor<T>& k, const AnyTensor<T>& v, bool same_tokens) {
  for (const int axis : {0, 1, 2, 3}) {
    const char* letter[] = {"B", "N", "H", "D"};
    op.require(q.extent(axis) == k.extent(axis) || (axis == 1 && !same_tokens), [&] {
      return "q " + to_string(q.dims()) + " and k " + to_string(k.dims()) + " differ in " + letter[axis];
    });
    op.require(v.extent(axis) == k.extent(axis) || axis == 3, [&] {
      return "k " + to_string(k.dims()) + " and v " + to_string(v.dims()) + " differ in " + letter[axis];
    });
  }
}

template <Real T>
LinearAttentionResult<T> linear_attention(const AnyTensor<T>& q, const AnyTensor<T>& k, const AnyTensor<T>& v,
                                          const LinearAttentionOptions& options, LinearAttentionExtras<T> extras,
                                          LastState last) {
  const AnyTensor<T>& decay = extras.decay.any();
  const AnyTensor<std::uint8_t>& keep = extras.keep.any();
  AnyTensor<T> kv = std::move(extras.initial.kv).any(), sum = std::move(extras.initial.sum).any();
  const Op op("linear_attention", arg("q", q), arg("k", k), arg("v", v), optional_arg("decay", decay),
              optional_arg("keep", keep), optional_arg("initial.kv", kv), optional_arg("initial.sum", sum));
  const bool causal = options.form == kernels::LinearForm::causal;
  const bool normalised = options.normaliser == kernels::Normaliser::score_sum;
  check_heads(op, q, k, v, causal);
  const Index batch = q.extent(0), heads = q.extent(2), width = q.extent(3), value_width = v.extent(3);
  const Dims kv_dims = dense_dims({batch, heads, width, value_width}), sum_dims = dense_dims({batch, heads, width});
  require_extents(op, "decay", decay, dense_dims({heads}));
  require_extents(op, "initial.kv", kv, kv_dims);
  require_extents(op, "initial.sum", sum, sum_dims);
  op.require(keep.empty() || keep.dims().same_extents(dense_dims({batch, k.extent(1)})), [&] {
    return "keep " + to_string(keep.dims()) + ", expected " + to_string(dense_dims({batch, k.extent(1)}));
  });
  op.require(causal || decay.empty(), [] { return "a decay needs the causal form"; });
  op.require(sum.empty() || normalised, [] { return "initial.sum without a normaliser"; });
  op.require(!normalised || sum.empty() == kv.empty(),
             [] { return "initial.kv without initial.sum, or the reverse, with a normaliser"; });

  StatePair<T> kvs(op, std::move(kv), kv_dims, last);
  StatePair<T> sums(op, std::move(sum), sum_dims, normalised ? last : LastState::skip);
  LinearAttention<T> run{{batch, heads, q.extent(1), k.extent(1), width, value_width, options.form, options.normaliser,
                          options.scale, options.eps},
                         linear_feature<T>(options.feature),
                         q,
                         k,
                         v,
                         decay,
                         keep,
                         std::move(kvs.from),
                         std::move(sums.from),
                         op.empty<T>(dense_dims({batch, q.extent(1), heads, value_width}))};
  op.run(run.cost(1, 1, kernels::linear_attention_scratch<T>(run.shape)), [&](Threads threads) {
    kernels::linear_attention<T>(threads, run.shape, run.operands(), token_rows<T>(run.out),
                                 {data_or_null(kvs.to), data_or_null(sums.to)});
  });
  if (op.recording()) {
    const std::array<Ghost<T>, 6> ghosts{op.ghost(q), op.ghost(k), op.ghost(v), op.ghost(decay), kvs.ghost, sums.ghost};
    op.record(std::array<AnyTensor<T>*, 3>{&run.out, &kvs.to, &sums.to},
              [run, ghosts](GradTape& tape, std::span<AnyTensor<T>> dy) { run.backward(tape, ghosts, dy); });
  }
  LinearAttentionResult<T> result{Tensor<T, 4>(op.result(std::move(run.out))), {}};
  run = {};  // lets go of the initial state, so that the result holds its memory alone
  if (!kvs.to.empty()) result.last.kv = Tensor<T, 4>(std::move(kvs.to));
  if (!sums.to.empty()) result.last.sum = Tensor<T, 3>(std::move(sums.to));
  return result;
}

// ---- the delta rule

// x [B, N, H] as rows of one number.
template <class T>
kernels::HeadRows<T> number_rows(const AnyTensor<std::remove_const_t<T>>& x) {
  if (x.empty()) return {};
  return {x.mutable_data(), x.stride(0), x.stride(1), x.stride(2)};
}

template <Real T>
struct DeltaRule {
  kernels::DeltaRuleShape shape;
  AnyTensor<T> q, k, v, beta, initial;

  Cost cost(double factor, double passes, std::size_t scratch) const {
    const double heads = static_cast<double>(shape.batch * shape.heads), tokens = static_cast<double>(shape.tokens);
    const double d = static_cast<double>(shape.width), e = static_cast<double>(shape.value_width);
    return {factor * heads * tokens *
                (6 * d * e + 2.0 * static_cast<double>(kernels::detail::delta_chunk) * (2 * d + 2 * e)),
            passes * heads * (2 * tokens * (d + e) + 2 * d * e) * static_cast<double>(sizeof(T)), scratch};
  }
  kernels::DeltaRuleOperands<T> operands() const {
    return {token_rows<const T>(q), token_rows<const T>(k), token_rows<const T>(v), number_rows<const T>(beta),
            data_or_null(initial)};
  }
  // dy: of out, of the last state.
  void backward(GradTape& tape, const std::array<Ghost<T>, 5>& ghosts, std::span<const AnyTensor<T>> dy) const {
    Context& context = tape.context();
    AnyTensor<T> dq = gradient_of(context, ghosts[0]), dk = gradient_of(context, ghosts[1]),
                 dv = gradient_of(context, ghosts[2]), dbeta = gradient_of(context, ghosts[3]),
                 dinitial = gradient_of(context, ghosts[4]);
    const Cost total = cost(2.5, 3, kernels::delta_rule_backward_scratch<T>(shape));
    context.run("delta_rule_backward", total, [&](Threads threads) {
      const kernels::DeltaRuleGradients<T> to{token_rows<const T>(dy[0]), data_or_null(dy[1]), token_rows<T>(dq),
                                              token_rows<T>(dk),          token_rows<T>(dv),   number_rows<T>(dbeta),
                                              data_or_null(dinitial)};
      kernels::delta_rule_backward<T>(threads, shape, operands(), to);
    });
    tape.give(ghosts[0], std::move(dq));
    tape.give(ghosts[1], std::move(dk));
    tape.give(ghosts[2], std::move(dv));
    tape.give(ghosts[3], std::move(dbeta));
    tape.give(ghosts[4], std::move(dinitial));
  }
};

template <Real T>
DeltaRuleResult<T> delta_rule(const AnyTensor<T>& q, const AnyTensor<T>& k, const AnyTensor<T>& v,
                              const AnyTensor<T>& beta, const DeltaRuleOptions& options, AnyTensor<T> initial,
                              LastState last) {
  const Op op("delta_rule", arg("q", q), arg("k", k), arg("v", v), arg("beta", beta), optional_arg("initial", initial));
  check_heads(op, q, k, v, true);
  const Index batch = q.extent(0), tokens = q.extent(1), heads = q.extent(2), width = q.extent(3);
  const Dims state_dims = dense_dims({batch, heads, width, v.extent(3)});
  require_extents(op, "beta", beta, dense_dims({batch, tokens, heads}));
  require_extents(op, "initial", initial, state_dims);
  StatePair<T> states(op, std::move(initial), state_dims, last);
  DeltaRule<T> run{{batch, heads, tokens, width, v.extent(3), options.scale}, q, k, v, beta, std::move(states.from)};
  AnyTensor<T> out = op.empty<T>(dense_dims({batch, tokens, heads, v.extent(3)}));
  op.run(run.cost(1, 1, kernels::delta_rule_scratch<T>(run.shape)), [&](Threads threads) {
    kernels::delta_rule<T>(threads, run.shape, run.operands(), token_rows<T>(out), data_or_null(states.to));
  });
  if (op.recording()) {
    const std::array<Ghost<T>, 5> ghosts{op.ghost(q), op.ghost(k), op.ghost(v), op.ghost(beta), states.ghost};
    op.record(std::array<AnyTensor<T>*, 2>{&out, &states.to},
              [run, ghosts](GradTape& tape, std::span<AnyTensor<T>> dy) { run.backward(tape, ghosts, dy); });
  }
  DeltaRuleResult<T> result{Tensor<T, 4>(op.result(std::move(out))), {}};
  run = {};
  if (!states.to.empty()) result.last = Tensor<T, 4>(std::move(states.to));
  return result;
}

}  // namespace any

// out_i = sum_j w_ij v_j, w_ij = scale q_i . k_j, over all keys or (causal, times decay^(i - j)) those up to i; with a
// normaliser divided by sum_j w_ij + eps. q [B, Nq, H, D] and k [B, Nk, H, D] are features already, or the options'
// feature map makes them such. v [B, Nk, H, E] -> [B, Nq, H, E]. The cost grows with N, not with N^2.
//     y = linear_attention(q, k, v, {.feature = FeatureMap::elu_plus_one});                            // all keys
//     y = linear_attention(q, k, v, {.form = causal, .normaliser = none}, {.decay = gamma});           // retention
template <Real T>
Tensor<T, 4> linear_attention(const Tensor<T, 4>& q, const Arg<Tensor<T, 4>>& k, const Arg<Tensor<T, 4>>& v,
                              const LinearAttentionOptions& options = {},
                              std::type_identity_t<LinearAttentionExtras<T>> extras = {}) {
  return any::linear_attention<T>(q.any(), k.any(), v.any(), options, std::move(extras), any::LastState::skip).out;
}

// The same and the state behind the last key, from which the next call goes on: a sequence in segments, or token by
// token. A state that the caller gives up (std::move) is written in place.
template <Real T>
LinearAttentionResult<T> linear_attention_with_state(const Tensor<T, 4>& q, const Arg<Tensor<T, 4>>& k,
                                                     const Arg<Tensor<T, 4>>& v,
                                                     const LinearAttentionOptions& options = {},
                                                     std::type_identity_t<LinearAttentionExtras<T>> extras = {}) {
  return any::linear_attention<T>(q.any(), k.any(), v.any(), options, std::move(extras), any::LastState::keep);
}

// out_t = scale q_t^T S_t, S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T. q, k [B, N, H, D], v [B, N, H, E],
// beta [B, N, H] -> [B, N, H, E]. k as it is: normalise it before. initial [B, H, D, E] may be absent.
template <Real T>
Tensor<T, 4> delta_rule(const Tensor<T, 4>& q, const Arg<Tensor<T, 4>>& k, const Arg<Tensor<T, 4>>& v,
                        const Arg<Tensor<T, 3>>& beta, const DeltaRuleOptions& options = {},
                        Arg<Tensor<T, 4>> initial = {}) {
  return any::delta_rule<T>(q.any(), k.any(), v.any(), beta.any(), options, std::move(initial).any(),
                            any::LastState::skip)
      .out;
}

// The same and the state behind the last token; `initial` is written in place where the caller gives it up.
template <Real T>
DeltaRuleResult<T> delta_rule_with_state(const Tensor<T, 4>& q, const Arg<Tensor<T, 4>>& k, const Arg<Tensor<T, 4>>& v,
                                         const Arg<Tensor<T, 3>>& beta, const DeltaRuleOptions& options = {},
                                         Arg<Tensor<T, 4>> initial = {}) {
  return any::delta_rule<T>(q.any(), k.any(), v.any(), beta.any(), options, std::move(initial).any(),
                            any::LastState::keep);
}

}  // namespace aulos::inline AULOS_ISA
