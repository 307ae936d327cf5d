// LSTM and GRU over sequences, one layer, one or two directions.
#pragma once

#include <array>
#include <span>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/matmul.hpp"
#include "aulos/kernels/recurrent.hpp"
#include "aulos/kernels/reduce.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/ops/weight.hpp"

namespace aulos::inline AULOS_ISA {

using kernels::RecurrentCell;

// The state of a recurrent layer, of all its directions: [D, B, H]. Empty: zeros. The GRU has no c.
template <Real T>
struct RecurrentState {
  Tensor<T, 3> h, c;
};

template <Real T>
struct RecurrentResult {
  Tensor<T, 3> y;           // [B, N, D H]
  RecurrentState<T> state;  // after the last step of each direction
};

// One direction: what the tokens bring, x W_ih^T + b_ih [B, N, G H], and what the state is multiplied with.
template <Real T>
struct RecurrentDirection {
  Tensor<T, 3> gates;
  const Weight<T>* weight = nullptr;  // W_hh [G H, H]
  Tensor<T, 1> bias = {};             // b_hh [G H], or absent
};

namespace any {

template <Real T>
struct RecurrentOperands {
  AnyTensor<T> gates, rows, bias;
  const Weight<T>* weight = nullptr;
};
template <Real T>
using RecurrentList = std::array<RecurrentOperands<T>, 2>;

template <Real T>
struct RecurrentOutcome {
  AnyTensor<T> y, h, c;
};

// The rows of a weight, wherever it is; `unpacked` is where panels are unpacked to.
template <Real T>
const T* rows_of_weight(Threads threads, const Weight<T>& weight, const AnyTensor<T>& unpacked) {
  if (!weight.packed()) return weight.rows().data();
  kernels::unpack_weight<T>(threads, weight.view().panels, weight.stored_as(), weight.out(), weight.in(),
                            unpacked.mutable_data(), weight.in());
  return unpacked.data();
}

// What the backward pass keeps.
template <Real T>
struct RecurrentRecord {
  RecurrentCell cell = RecurrentCell::lstm;
  kernels::RecurrentShape shape = {};
  Index directions = 1;
  std::array<AnyTensor<T>, 2> gates, memory, rows;
  std::array<Ghost<T>, 2> ggates, grows, gbias;
  AnyTensor<T> y, h0, c0;
  Ghost<T> gh0, gc0;
  AnyTensor<std::int64_t> lengths;
};

inline Cost recurrent_cost(RecurrentCell cell, const kernels::RecurrentShape& s, Index directions, std::size_t element,
                           std::size_t scratch, double products) {
  const double tokens = static_cast<double>(s.batch * s.steps * directions);
  const double width = static_cast<double>(kernels::gates_of(cell) * s.hidden);
  const double hidden = static_cast<double>(s.hidden);
  return {.flops = tokens * width * (2 * products * hidden + 10),
          .bytes = static_cast<double>(element) * (products * tokens * (width + 2 * hidden) + 2 * width * hidden),
          .scratch = scratch};
}

// Elements of [D, B, H] from direction d on.
template <Real T>
T* of_direction(const AnyTensor<T>& x, Index d) {
  return x.empty() ? nullptr : x.mutable_data() + d * x.stride(0);
}

template <Real T>
[[gnu::noinline]] void recurrent_backward(GradTape& tape, RecurrentRecord<T>& r, std::span<AnyTensor<T>> gradients) {
  Context& context = tape.context();
  const kernels::RecurrentShape& s = r.shape;
  const Index width = kernels::gates_of(r.cell) * s.hidden, tokens = s.batch * s.steps;
  const AnyTensor<T> gy = gradients[0], gh = gradients[1], gc = gradients[2];
  const auto wanted = [&](const Ghost<T>& of) {
    return of ? context.empty_any<T>(dense_dims(of.dims.extent, of.dims.rank)) : AnyTensor<T>{};
  };
  const AnyTensor<T> dh0 = wanted(r.gh0), dc0 = wanted(r.gc0);
  std::array<AnyTensor<T>, 2> panels, hidden_gates, previous;
  for (std::size_t d = 0; d < static_cast<std::size_t>(r.directions); ++d) {
    panels[d] = context.empty_any<T>(dense_dims({kernels::packed_recurrent<T>(r.cell, s.hidden)}));
    if (r.cell == RecurrentCell::gru && (r.grows[d] || r.gbias[d]))
      hidden_gates[d] = context.empty_any<T>(r.gates[d].dims());
    if (r.grows[d]) previous[d] = context.empty_any<T>(dense_dims({s.batch, s.steps, s.hidden}));
  }
  const std::size_t scratch = kernels::recurrent_scratch<T>(r.cell, s.batch, s.hidden);
  const char* name = r.cell == RecurrentCell::lstm ? "lstm_backward" : "gru_backward";
  context.run(name, recurrent_cost(r.cell, s, r.directions, sizeof(T), scratch, 1), [&](Threads threads) {
    std::array<kernels::RecurrentBackward<T>, 2> list{};
    for (std::size_t d = 0; d < static_cast<std::size_t>(r.directions); ++d) {
      const Index at = static_cast<Index>(d);
      kernels::pack_recurrent_transposed<T>(threads, r.cell, r.rows[d].data(), s.hidden, s.hidden,
                                            panels[d].mutable_data());
      list[d] = {.panels = panels[d].data(),
                 .gates = r.gates[d].mutable_data(),
                 .memory = r.memory[d].data(),
                 .y = r.y.data() + at * s.hidden,
                 .ldy = r.y.last(),
                 .h0 = of_direction(r.h0, at),
                 .c0 = of_direction(r.c0, at),
                 .gy = gy.empty() ? nullptr : gy.data() + at * s.hidden,
                 .ldgy = r.y.last(),
                 .gh_last = of_direction(gh, at),
                 .gc_last = of_direction(gc, at),
                 .hidden_gates = data_or_null(hidden_gates[d]),
                 .previous = data_or_null(previous[d]),
                 .gh0 = of_direction(dh0, at),
                 .gc0 = of_direction(dc0, at),
                 .reverse = d == 1};
    }
    kernels::recurrent_backward<T>(threads, r.cell, s, r.lengths.empty() ? nullptr : r.lengths.data(), list.data(),
                                   r.directions);
  });
  for (std::size_t d = 0; d < static_cast<std::size_t>(r.directions); ++d) {
    const AnyTensor<T>& source = hidden_gates[d].empty() ? r.gates[d] : hidden_gates[d];
    if (r.grows[d]) {
      AnyTensor<T> dw = tape.into(r.grows[d]);
      using View = kernels::MatrixView<const T>;
      const double flops = 2.0 * static_cast<double>(tokens) * static_cast<double>(width * s.hidden);
      const double bytes = static_cast<double>(sizeof(T)) * static_cast<double>(tokens * (width + s.hidden));
      context.run(name, {flops, bytes, kernels::matmul_scratch<T>({width, s.hidden, tokens})}, [&](Threads threads) {
        kernels::matmul<T>(threads, View{source.data(), tokens, width, width, 1}.transposed(),
                           View{previous[d].data(), tokens, s.hidden, s.hidden, 1}, dw.mutable_data(), s.hidden,
                           kernels::Update::add);
      });
    }
    if (r.gbias[d]) {
      AnyTensor<T> db = tape.into(r.gbias[d]);
      context.run(name, cost_per_element<T>(source.count(), 1, 1), [&](Threads threads) {
        kernels::column_sum_add<T>(threads, source.data(), width, nullptr, 0, tokens, width, db.mutable_data());
      });
    }
  }
  for (std::size_t d = 0; d < static_cast<std::size_t>(r.directions); ++d)
    tape.give(r.ggates[d], std::move(r.gates[d]));
  tape.give(r.gh0, dh0);
  tape.give(r.gc0, dc0);
}

template <Real T>
void check_recurrent(const Op& op, RecurrentCell cell, const RecurrentList<T>& list, Index directions,
                     const AnyTensor<T>& h0, const AnyTensor<T>& c0, const AnyTensor<std::int64_t>& lengths) {
  const AnyTensor<T>& first = list[0].gates;
  const Index gates = kernels::gates_of(cell);
  for (std::size_t d = 0; d < static_cast<std::size_t>(directions); ++d) {
    const Weight<T>& w = *list[d].weight;
    op.require(!w.empty() && w.out() == gates * w.in() && w.in() == list[0].weight->in(),
               [&] { return "weight " + to_string(w.shape()) + ", expected [" + std::to_string(gates) + " H, H]"; });
    op.require(list[d].gates.dims().same_extents(first.dims()) && list[d].gates.last() == w.out(), [&] {
      return "gates " + to_string(list[d].gates.dims()) + " for a weight " + to_string(w.shape()) +
             ", expected [B, N, " + std::to_string(w.out()) + "]";
    });
    op.require(list[d].bias.empty() || (list[d].bias.rank() == 1 && list[d].bias.last() == w.out()), [&] {
      return "bias " + to_string(list[d].bias.dims()) + ", expected [" + std::to_string(w.out()) + "]";
    });
  }
  const Dims state = dense_dims({directions, first.extent(0), list[0].weight->in()});
  for (const AnyTensor<T>* each : {&h0, &c0}) {
    op.require(each->empty() || each->dims().same_extents(state), [&] {
      return std::string(each == &h0 ? "h0 " : "c0 ") + to_string(each->dims()) + ", expected " + to_string(state);
    });
  }
  op.require(c0.empty() || cell == RecurrentCell::lstm, [] { return "c0 is given, and a GRU has no c"; });
  op.require(lengths.empty() || (lengths.rank() == 1 && lengths.last() == first.extent(0)), [&] {
    return "lengths " + to_string(lengths.dims()) + ", expected [" + std::to_string(first.extent(0)) + "]";
  });
}

template <Real T>
RecurrentOutcome<T> recurrent(RecurrentCell cell, RecurrentList<T>&& list, Index directions, const AnyTensor<T>& h0,
                              const AnyTensor<T>& c0, const AnyTensor<std::int64_t>& lengths) {
  const char* name = cell == RecurrentCell::lstm ? "lstm" : "gru";
  const Op op = Op::over(name, [&](auto&& visit) {
    for (std::size_t d = 0; d < static_cast<std::size_t>(directions); ++d) {
      visit(arg("gates", list[d].gates));
      visit(optional_arg("weight", list[d].rows));
      visit(optional_arg("bias", list[d].bias));
    }
    visit(optional_arg("h0", h0));
    visit(optional_arg("c0", c0));
    visit(optional_arg("lengths", lengths));
  });
  check_recurrent(op, cell, list, directions, h0, c0, lengths);
  const Index hidden = list[0].weight->in();
  const kernels::RecurrentShape s{list[0].gates.extent(0), list[0].gates.extent(1), hidden};
  RecurrentRecord<T> record;
  record.cell = cell;
  record.shape = s;
  record.directions = directions;
  std::array<AnyTensor<T>, 2> panels, unpacked;
  for (std::size_t d = 0; d < static_cast<std::size_t>(directions); ++d) {
    record.rows[d] = list[d].rows;
    panels[d] = op.empty<T>(dense_dims({kernels::packed_recurrent<T>(cell, hidden)}));
    if (list[d].weight->packed()) {
      op.require(!op.recording(), [] { return "a packed weight has no gradient; call unpack() before training"; });
      unpacked[d] = op.empty<T>(dense_dims({list[d].weight->out(), hidden}));
    }
    if (!op.recording()) {
      record.gates[d] = op.dense(list[d].gates);
      continue;
    }
    record.ggates[d] = op.ghost(list[d].gates);
    record.grows[d] = op.ghost(list[d].rows);
    record.gbias[d] = op.ghost(list[d].bias);
    // The gates' values go where x W_ih^T + b_ih was, if nobody else reads that.
    if (list[d].gates.sole()) {
      record.gates[d] = op.reuse(std::move(list[d].gates));
    } else {
      record.gates[d] = op.like(list[d].gates);
      copy_elements(op.context(), name, list[d].gates, record.gates[d]);
    }
    record.memory[d] = op.empty<T>(dense_dims({s.batch, s.steps, hidden}));
  }
  record.h0 = op.dense(h0);
  record.c0 = op.dense(c0);
  record.gh0 = op.ghost(h0);
  record.gc0 = op.ghost(c0);
  record.lengths = op.dense(lengths);
  RecurrentOutcome<T> out;
  out.y = op.empty<T>(dense_dims({s.batch, s.steps, directions * hidden}));
  out.h = op.empty<T>(dense_dims({directions, s.batch, hidden}));
  if (cell == RecurrentCell::lstm) out.c = op.empty<T>(dense_dims({directions, s.batch, hidden}));
  const std::size_t scratch = kernels::recurrent_scratch<T>(cell, s.batch, hidden);
  op.run(recurrent_cost(cell, s, directions, sizeof(T), scratch, 1), [&](Threads threads) {
    const AnyTensor<std::int64_t>& ends = record.lengths;
    for (Index b = 0; !ends.empty() && b < s.batch; ++b) {
      op.require(ends.data()[b] >= 0 && ends.data()[b] <= s.steps, [&] {
        return "lengths[" + std::to_string(b) + "] is " + std::to_string(ends.data()[b]) + ", expected 0 to " +
               std::to_string(s.steps);
      });
    }
    std::array<kernels::RecurrentForward<T>, 2> run{};
    for (std::size_t d = 0; d < static_cast<std::size_t>(directions); ++d) {
      const Index at = static_cast<Index>(d);
      const T* rows = rows_of_weight(threads, *list[d].weight, unpacked[d]);
      kernels::pack_recurrent<T>(threads, cell, rows, hidden, hidden, panels[d].mutable_data());
      run[d] = {.panels = panels[d].data(),
                .bias = list[d].bias.empty() ? nullptr : list[d].bias.data(),
                .gates = record.gates[d].mutable_data(),
                .memory = data_or_null(record.memory[d]),
                .h0 = of_direction(record.h0, at),
                .c0 = of_direction(record.c0, at),
                .y = out.y.mutable_data() + at * hidden,
                .ldy = directions * hidden,
                .h_last = of_direction(out.h, at),
                .c_last = of_direction(out.c, at),
                .reverse = d == 1};
    }
    kernels::recurrent_forward<T>(threads, cell, s, ends.empty() ? nullptr : ends.data(), run.data(), directions);
  });
  if (op.recording()) {
    record.y = out.y;
    op.record(std::array<AnyTensor<T>*, 3>{&out.y, &out.h, &out.c},
              [record = std::move(record)](GradTape& tape, std::span<AnyTensor<T>> gradients) mutable {
                recurrent_backward(tape, record, gradients);
              });
  }
  out.y = op.result(std::move(out.y));
  return out;
}

}  // namespace any

// h_t over the tokens of every sequence, forwards and, with a second direction, backwards; see kernels/recurrent.hpp
// for the formulas. `gates` is overwritten where nobody else holds it. lengths [B]: sequence b ends after lengths[b]
// tokens; its outputs behind are 0. The inner part of torch.nn.LSTM and torch.nn.GRU.
template <Real T, std::size_t Extent>
RecurrentResult<T> recurrent(RecurrentCell cell, std::span<RecurrentDirection<T>, Extent> directions,
                             const RecurrentState<T>& initial = {}, const Tensor<std::int64_t, 1>& lengths = {}) {
  if (directions.empty() || directions.size() > 2)
    throw ShapeError("recurrent: " + std::to_string(directions.size()) + " directions, expected 1 or 2");
  any::RecurrentList<T> list;
  for (std::size_t d = 0; d < directions.size(); ++d) {
    RecurrentDirection<T>& each = directions[d];
    if (each.weight == nullptr) throw ShapeError("recurrent: a direction has no weight");
    list[d] = {std::move(each.gates).any(), each.weight->rows().any(), each.bias.any(), each.weight};
  }
  any::RecurrentOutcome<T> out = any::recurrent<T>(cell, std::move(list), static_cast<Index>(directions.size()),
                                                   initial.h.any(), initial.c.any(), lengths.any());
  RecurrentResult<T> result;
  result.y = Tensor<T, 3>(std::move(out.y));
  result.state.h = Tensor<T, 3>(std::move(out.h));
  result.state.c = Tensor<T, 3>(std::move(out.c));
  return result;
}

}  // namespace aulos::inline AULOS_ISA
