// Softmax attention, of one sequence or joint over several, with masks and scores as function objects.
#pragma once

#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/attention.hpp"
#include "aulos/kernels/attention_backward.hpp"
#include "aulos/kernels/attention_mask.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

// Queries, keys and values of one side: q [B, Nq, H, D], k [B, Nk, G, D], v [B, Nk, G', E]. H is a multiple of G and of
// G'; query head h reads the keys h / (H / G) and the values h / (H / G'). A side without q gives keys and values only,
// one without k and v queries only.
template <Real T>
struct QueryKeyValue {
  Tensor<T, 4> q, k, v;
};

// Whether values are as many heads as keys (G' is G), or any number that divides the query heads.
enum class ValueHeads { as_keys, own };

struct AttentionOptions {
  std::optional<double> scale{};  // of q k^T; absent: 1 / sqrt(D)
  ValueHeads value_heads = ValueHeads::as_keys;
};

// out [B, Nq, H, E], lse [B, H, Nq]: the log of the softmax's denominator, -inf for a query that sees no key.
template <Real T>
struct AttentionResult {
  Tensor<T, 4> out;
  Tensor<T, 3> lse;
};

// Keys to attend to, by sample: keep [B, Nk] holds 1 to keep, 0 to drop.
struct KeepKeys {
  Tensor<std::uint8_t, 2> keep;
};

// Added to the scores before the softmax: [H, Nq, Nk] shared by all samples, or [B, H, Nq, Nk]; -inf drops a key.
template <Real T>
struct AddBias {
  AnyTensor<T> bias;
  AddBias(Tensor<T, 3> shared) : bias(std::move(shared).any()) {}        // NOLINT(google-explicit-constructor)
  AddBias(Tensor<T, 4> by_sample) : bias(std::move(by_sample).any()) {}  // NOLINT(google-explicit-constructor)
};

// At most so many sides meet in one attention.
inline constexpr std::size_t max_sides = 4;

namespace any {

template <Real T>
struct Side {
  AnyTensor<T> q, k, v;
};

// Kernel rules of op-level masks and scores: plain rules are their own; those with memory point into their tensors.
template <class Rule>
const Rule& attention_rule(const Rule& rule) {
  return rule;
}
inline kernels::KeyMask attention_rule(const KeepKeys& mask) {
  return {mask.keep.data(), mask.keep.stride(0), kernels::KeyFlag::keep};
}
template <class First, class Second>
auto attention_rule(const kernels::MaskBoth<First, Second>& both) {
  return kernels::MaskBoth{attention_rule(both.first), attention_rule(both.second)};
}

template <Real T>
kernels::AdditiveBias<T> bias_rule(const AddBias<T>& score, const AnyTensor<T>& gradient) {
  const Dims& d = score.bias.dims();
  const Index batch = d.rank == 4 ? d.stride[0] : 0;
  return {score.bias.data(), batch, d.stride[d.rank - 3], d.stride[d.rank - 2],
          gradient.empty() ? nullptr : gradient.mutable_data()};
}
template <class Score, Real T>
const Score& score_rule(const Score& score, const AnyTensor<T>&) {
  return score;
}
template <Real T>
kernels::AdditiveBias<T> score_rule(const AddBias<T>& score, const AnyTensor<T>& gradient) {
  return bias_rule(score, gradient);
}
template <Real T, class Score>
AnyTensor<T> bias_of(const Score&) {
  return {};
}
template <Real T>
AnyTensor<T> bias_of(const AddBias<T>& score) {
  return score.bias;
}

template <class T>
kernels::HeadRows<T> head_rows(const AnyTensor<std::remove_const_t<T>>& x) {
  if (x.empty()) return {};
  return {x.mutable_data(), x.stride(0), x.stride(1), x.stride(2)};
}
template <class T>
kernels::HeadRows<T> lse_rows(const AnyTensor<std::remove_const_t<T>>& lse) {  // [B, H, Nq]
  if (lse.empty()) return {};
  return {lse.mutable_data(), lse.stride(0), lse.stride(2), lse.stride(1)};
}

// Checks the sides against each other and returns the kernel's extents.
template <Real T>
kernels::AttentionShape attention_shape(const Op& op, std::span<const Side<T>> sides, const AttentionOptions& options) {
  const AnyTensor<T>* q = nullptr;
  const AnyTensor<T>* k = nullptr;
  const AnyTensor<T>* v = nullptr;
  const auto same = [&](const AnyTensor<T>& x, const AnyTensor<T>& first, const char* name, int axis,
                        const char* letter) {
    op.require(x.extent(axis) == first.extent(axis), [&] {
      return concat_text({name, " ", x.dims(), " and ", name, " ", first.dims(), " of an earlier side differ in ",
                          letter, " (", x.extent(axis), " != ", first.extent(axis), ")"});
    });
  };
  for (const Side<T>& side : sides) {
    op.require(side.k.empty() == side.v.empty(), [] { return "a side has k without v or v without k"; });
    if (!side.q.empty()) {
      if (q == nullptr) q = &side.q;
      same(side.q, *q, "q", 0, "B");
      same(side.q, *q, "q", 2, "H");
      same(side.q, *q, "q", 3, "D");
    }
    if (!side.k.empty()) {
      if (k == nullptr) k = &side.k, v = &side.v;
      same(side.k, *k, "k", 0, "B");
      same(side.k, *k, "k", 2, "G");
      same(side.k, *k, "k", 3, "D");
      same(side.v, *v, "v", 2, "G");
      same(side.v, *v, "v", 3, "E");
      for (int axis = 0; axis < (options.value_heads == ValueHeads::own ? 2 : 3); ++axis) {
        op.require(side.v.extent(axis) == side.k.extent(axis), [&] {
          const char* letter[] = {"B", "Nk", "G"};
          return concat_text({"k ", side.k.dims(), " and v ", side.v.dims(), " differ in ", letter[axis], " (",
                              side.k.extent(axis), " != ", side.v.extent(axis), ")"});
        });
      }
    }
  }
  op.require(q != nullptr, [] { return "no side has queries"; });
  op.require(k != nullptr, [] { return "no side has keys (an empty sequence is k of extent 0, not an absent k)"; });
  const auto differ = [&](int axis, const char* letter) {
    op.require(q->extent(axis) == k->extent(axis), [&] {
      return concat_text({"q ", q->dims(), " and k ", k->dims(), " differ in ", letter, " (", q->extent(axis),
                          " != ", k->extent(axis), ")"});
    });
  };
  differ(0, "B");
  differ(3, "D");
  const Index heads = q->extent(2);
  for (const auto* x : {k, v}) {
    const Index groups = x->extent(2);
    op.require(groups == 0 ? heads == 0 : heads % groups == 0, [&] {
      return concat_text({"q ", q->dims(), " has ", heads, " heads, not a multiple of the ", groups, " of ",
                          x == k ? "k " : "v ", x->dims()});
    });
  }
  const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(q->extent(3))));
  return {q->extent(0), heads, k->extent(2), q->extent(3), v->extent(3), scale, v->extent(2)};
}

template <Real T, class Mask, class Score>
struct JointAttention {
  static constexpr std::size_t most = max_sides;

  kernels::AttentionShape shape;
  std::size_t count = 0;
  std::array<Side<T>, most> sides;
  std::array<AnyTensor<T>, most> out, lse;
  Mask mask;
  Score score;

  Index queries() const { return total(&Side<T>::q); }
  Index keys() const { return total(&Side<T>::k); }

  double flops() const {
    return 2.0 * static_cast<double>(shape.batch * shape.heads) * static_cast<double>(queries()) *
           static_cast<double>(keys()) * static_cast<double>(shape.width + shape.value_width);
  }
  double bytes() const {
    const double query_side = static_cast<double>(queries() * shape.heads * (shape.width + shape.value_width));
    const double key_side =
        static_cast<double>(keys() * (shape.groups * shape.width + shape.value_groups * shape.value_width));
    return static_cast<double>(sizeof(T)) * static_cast<double>(shape.batch) * (query_side + key_side);
  }

  std::array<kernels::AttentionSide<T>, most> kernel_sides() const {
    std::array<kernels::AttentionSide<T>, most> list{};
    for (std::size_t s = 0; s < count; ++s) {
      const Side<T>& side = sides[s];
      list[s].nq = side.q.empty() ? 0 : side.q.extent(1);
      list[s].nk = side.k.empty() ? 0 : side.k.extent(1);
      list[s].q = head_rows<const T>(side.q);
      list[s].k = head_rows<const T>(side.k);
      list[s].v = head_rows<const T>(side.v);
      list[s].out = head_rows<T>(out[s]);
      list[s].lse = lse_rows<T>(lse[s]);
    }
    return list;
  }

  void forward(Threads threads, Numeric mode, T* workspace) const {
    const auto list = kernel_sides();
    kernels::attention<T>(threads, shape, std::span<const kernels::AttentionSide<T>>(list.data(), count),
                          attention_rule(mask), score_rule(score, AnyTensor<T>{}), mode, workspace);
  }

  // gradients: of out[0..most), then of lse[0..most).
  void backward(GradTape& tape, const std::array<std::array<Ghost<T>, 3>, most>& ghosts, const Ghost<T>& bias,
                std::span<AnyTensor<T>> gradients) const {
    Context& context = tape.context();
    std::array<std::array<AnyTensor<T>, 3>, most> d;
    for (std::size_t s = 0; s < count; ++s) {
      const AnyTensor<T>* x[] = {&sides[s].q, &sides[s].k, &sides[s].v};
      for (std::size_t i = 0; i < 3; ++i)
        if (ghosts[s][i]) d[s][i] = context.empty_any<T>(x[i]->dims());
      if (gradients[s].empty() && !out[s].empty()) {  // only some results have a gradient: the others' is zero
        gradients[s] = context.empty_any<T>(out[s].dims());
        context.run("zero_gradient", cost_per_element<T>(out[s].count(), 0, 1), [&](Threads) {
          std::memset(gradients[s].mutable_data(), 0, static_cast<std::size_t>(out[s].count()) * sizeof(T));
        });
      }
    }
    const AnyTensor<T> gbias = bias ? tape.into(bias) : AnyTensor<T>{};
    const Cost cost{2.5 * flops(), 3 * bytes(), kernels::attention_backward_scratch<T>(shape, queries(), keys())};
    context.run("attention_backward", cost, [&](Threads threads) {
      const auto list = kernel_sides();
      std::array<kernels::AttentionSideGradients<T>, most> to{};
      for (std::size_t s = 0; s < count; ++s) {
        to[s].dout = head_rows<const T>(gradients[s]);
        to[s].dlse = lse_rows<const T>(gradients[most + s]);
        to[s].dq.rows = head_rows<T>(d[s][0]);
        to[s].dk.rows = head_rows<T>(d[s][1]);
        to[s].dv.rows = head_rows<T>(d[s][2]);
      }
      kernels::attention_backward<T>(threads, shape, std::span<const kernels::AttentionSide<T>>(list.data(), count),
                                     std::span<const kernels::AttentionSideGradients<T>>(to.data(), count),
                                     attention_rule(mask), score_rule(score, gbias));
    });
    for (std::size_t s = 0; s < count; ++s)
      for (std::size_t i = 0; i < 3; ++i) tape.give(ghosts[s][i], std::move(d[s][i]));
  }

 private:
  Index total(AnyTensor<T> Side<T>::*member) const {
    Index n = 0;
    for (std::size_t s = 0; s < count; ++s)
      if (const AnyTensor<T>& x = sides[s].*member; !x.empty()) n += x.extent(1);
    return n;
  }
};

// Masks and biases in memory must have the extents of the attention.
template <class Mask>
void check_mask(const Op&, const Mask&, Index, Index) {}
inline void check_mask(const Op& op, const KeepKeys& mask, Index batch, Index keys) {
  op.require(!mask.keep.empty() && mask.keep.extent(0) == batch && mask.keep.extent(1) == keys, [&] {
    return "key mask " + (mask.keep.empty() ? "is absent" : to_string(mask.keep.any().dims())) + ", expected " +
           to_string(dense_dims({batch, keys}));
  });
}
template <class First, class Second>
void check_mask(const Op& op, const kernels::MaskBoth<First, Second>& both, Index batch, Index keys) {
  check_mask(op, both.first, batch, keys);
  check_mask(op, both.second, batch, keys);
}

template <Real T, class Run, class Score>
void check_score(const Op&, const Run&, const Score&) {}
template <Real T, class Run>
void check_score(const Op& op, const Run& run, const AddBias<T>& score) {
  const AnyTensor<T>& bias = score.bias;
  const int r = bias.empty() ? 4 : bias.rank();
  Dims expected = dense_dims({run.shape.batch, run.shape.heads, run.queries(), run.keys()});
  if (r == 3) expected = dense_dims(expected.extent + 1, 3);
  op.require(!bias.empty() && bias.dims().same_extents(expected), [&] {
    return "bias " + (bias.empty() ? "is empty (moved from?)" : to_string(bias.dims())) + ", expected " +
           to_string(expected);
  });
}

// Fills results.out and results.lse (the latter where `with_lse` or a gradient is asked for).
enum class Lse { skip, keep };

template <Real T, class Mask, class Score>
JointAttention<T, Mask, Score> joint_attention(std::span<const Side<T>> sides, const AttentionOptions& options,
                                               const Mask& mask, const Score& score, Lse keep_lse) {
  const AnyTensor<T> bias = bias_of<T>(score);
  const Op op = Op::over("scaled_dot_product_attention", [&](auto&& visit) {
    for (const Side<T>& side : sides) {
      visit(optional_arg("q", side.q));
      visit(optional_arg("k", side.k));
      visit(optional_arg("v", side.v));
    }
    visit(optional_arg("bias", bias));
  });
  op.require(sides.size() <= max_sides, [&] { return concat_text({sides.size(), " sides, at most ", max_sides}); });
  JointAttention<T, Mask, Score> run{attention_shape(op, sides, options), sides.size(), {}, {}, {}, mask, score};

  for (std::size_t s = 0; s < run.count; ++s) {
    run.sides[s] = sides[s];
    if (sides[s].q.empty()) continue;
    const Index nq = sides[s].q.extent(1);
    run.out[s] = op.empty<T>(dense_dims({run.shape.batch, nq, run.shape.heads, run.shape.value_width}));
    if (keep_lse == Lse::keep || op.recording())
      run.lse[s] = op.empty<T>(dense_dims({run.shape.batch, run.shape.heads, nq}));
  }
  check_mask(op, mask, run.shape.batch, run.keys());
  check_score<T>(op, run, score);
  const Numeric mode = op.recording() ? Numeric::exact : op.context().numeric();  // the rule recomputes exact weights
  const Cost cost{run.flops(), run.bytes(), kernels::attention_scratch<T>(run.shape, run.queries(), run.keys(), mode)};
  const Index split =
      kernels::attention_workspace<T>(op.context().threads(), run.shape, run.queries(), run.keys(), mode);
  const AnyTensor<T> workspace = split > 0 ? op.empty<T>(dense_dims({split})) : AnyTensor<T>{};
  op.run(cost, [&](Threads threads) { run.forward(threads, mode, split > 0 ? workspace.mutable_data() : nullptr); });
  if (op.recording()) {
    std::array<std::array<Ghost<T>, 3>, max_sides> ghosts;
    for (std::size_t s = 0; s < run.count; ++s)
      ghosts[s] = {op.ghost(run.sides[s].q), op.ghost(run.sides[s].k), op.ghost(run.sides[s].v)};
    std::array<AnyTensor<T>*, 2 * max_sides> results;
    for (std::size_t s = 0; s < max_sides; ++s) {
      results[s] = &run.out[s];
      results[max_sides + s] = &run.lse[s];
    }
    const JointAttention<T, Mask, Score> saved = run;
    op.record(results, [saved, ghosts, gbias = op.ghost(bias)](GradTape& tape, std::span<AnyTensor<T>> gradients) {
      saved.backward(tape, ghosts, gbias, gradients);
    });
  }
  for (AnyTensor<T>& out : run.out)
    if (!out.empty()) out = op.result(std::move(out));
  return run;
}

}  // namespace any

// softmax(scale q k^T + ...) v over the keys of all sides at once, for the queries of every side; equal to the
// attention of the concatenated sequences, which is never formed. Results in the order of the sides, empty for sides
// without q.
template <Real T, std::size_t Sides, class Mask = kernels::NoMask, class Score = kernels::NoScore>
std::array<Tensor<T, 4>, Sides> joint_attention(const std::array<QueryKeyValue<T>, Sides>& sides,
                                                const AttentionOptions& options = {}, const Mask& mask = {},
                                                const Score& score = {}) {
  static_assert(Sides <= max_sides, "at most four sides meet in one attention");
  std::array<any::Side<T>, Sides> list;
  for (std::size_t s = 0; s < Sides; ++s) list[s] = {sides[s].q.any(), sides[s].k.any(), sides[s].v.any()};
  auto run = any::joint_attention<T>(std::span<const any::Side<T>>(list), options, mask, score, any::Lse::skip);
  std::array<Tensor<T, 4>, Sides> out;
  for (std::size_t s = 0; s < Sides; ++s)
    if (!run.out[s].empty()) out[s] = Tensor<T, 4>(std::move(run.out[s]));
  return out;
}

// out and the log-sum-exp of the scores, by which partial attentions can be merged.
template <Real T, class Mask = kernels::NoMask, class Score = kernels::NoScore>
AttentionResult<T> attention_with_lse(const Tensor<T, 4>& q, const Arg<Tensor<T, 4>>& k, const Arg<Tensor<T, 4>>& v,
                                      const AttentionOptions& options = {}, const Mask& mask = {},
                                      const Score& score = {}) {
  const any::Side<T> side{q.any(), k.any(), v.any()};
  auto run = any::joint_attention<T>(std::span<const any::Side<T>>(&side, 1), options, mask, score, any::Lse::keep);
  return {Tensor<T, 4>(std::move(run.out[0])), Tensor<T, 3>(std::move(run.lse[0]))};
}

// softmax(scale q k^T + ...) v: q [B, Nq, H, D], k [B, Nk, G, D], v [B, Nk, G', E] -> [B, Nq, H, E]. A query that sees
// no key gives 0. torch.nn.functional.scaled_dot_product_attention, with heads behind tokens.
template <Real T, class Mask = kernels::NoMask, class Score = kernels::NoScore>
Tensor<T, 4> scaled_dot_product_attention(const Tensor<T, 4>& q, const Arg<Tensor<T, 4>>& k, const Arg<Tensor<T, 4>>& v,
                                          const AttentionOptions& options = {}, const Mask& mask = {},
                                          const Score& score = {}) {
  const any::Side<T> side{q.any(), k.any(), v.any()};
  auto run = any::joint_attention<T>(std::span<const any::Side<T>>(&side, 1), options, mask, score, any::Lse::skip);
  return Tensor<T, 4>(std::move(run.out[0]));
}

}  // namespace aulos::inline AULOS_ISA
