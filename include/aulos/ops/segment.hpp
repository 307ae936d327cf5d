// Sequences to chunks and back: a gather by a chunk table and its exact adjoint, each the gradient of the other.
#pragma once

#include <cmath>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/segment.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA {

using kernels::ChunkTable;

namespace any {

template <Real T>
void check_chunks(const Op& op, const ChunkTable& table, const AnyTensor<T>& window) {
  op.require(table.length >= 0 && table.chunk >= 1 && table.chunks >= 0 && table.even_hop >= 0 && table.odd_hop >= 0,
             [&] {
               return "a table of " + std::to_string(table.chunks) + " chunks of " + std::to_string(table.chunk) +
                      " tokens from " + std::to_string(table.length) + ", hops " + std::to_string(table.even_hop) +
                      " and " + std::to_string(table.odd_hop) + ", expected none negative and a chunk >= 1";
             });
  op.require(window.empty() || (window.rank() == 1 && window.last() == table.chunk),
             [&] { return "window " + to_string(window.dims()) + ", expected [" + std::to_string(table.chunk) + "]"; });
  op.require(!op.ghost(window), [] { return "the window is a constant: it has no gradient"; });
}

template <Real T>
AnyTensor<T> overlap_add(const AnyTensor<T>& z, const ChunkTable& table, const AnyTensor<T>& window);

template <Real T>
AnyTensor<T> segment(const AnyTensor<T>& x, const ChunkTable& table, const AnyTensor<T>& window) {
  Op op("segment", arg("x", x), optional_arg("window", window));
  check_chunks(op, table, window);
  op.require(x.extent(1) == table.length,
             [&] { return "x " + to_string(x.dims()) + ", expected [B, " + std::to_string(table.length) + ", C]"; });
  AnyTensor<T> z = op.empty<T>(dense_dims({x.extent(0), table.chunks, table.chunk, x.last()}));
  op.run(cost_per_element<T>(z.count(), window.empty() ? 0 : 1, 2), [&](Threads threads) {
    kernels::segment<T>(threads, x.extent(0), x.last(), table, {x.data(), x.stride(0), x.stride(1)},
                        window.empty() ? nullptr : window.data(),
                        {z.mutable_data(), z.stride(0), z.stride(1), z.stride(2)});
  });
  if (op.recording()) {
    op.record(z, [table, window, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gz) {
      tape.give(gx, overlap_add(gz, table, window));
    });
  }
  return op.result(std::move(z));
}

template <Real T>
AnyTensor<T> overlap_add(const AnyTensor<T>& z, const ChunkTable& table, const AnyTensor<T>& window) {
  Op op("overlap_add", arg("z", z), optional_arg("window", window));
  check_chunks(op, table, window);
  op.require(z.extent(1) == table.chunks && z.extent(2) == table.chunk, [&] {
    return "z " + to_string(z.dims()) + ", expected [B, " + std::to_string(table.chunks) + ", " +
           std::to_string(table.chunk) + ", C]";
  });
  AnyTensor<T> y = op.empty<T>(dense_dims({z.extent(0), table.length, z.last()}));
  op.run(cost_per_element<T>(z.count(), window.empty() ? 1 : 2, 2), [&](Threads threads) {
    kernels::overlap_add<T>(threads, z.extent(0), z.last(), table, {z.data(), z.stride(0), z.stride(1), z.stride(2)},
                            window.empty() ? nullptr : window.data(), {y.mutable_data(), y.stride(0), y.stride(1)});
  });
  if (op.recording()) {
    op.record(y, [table, window, gz = op.ghost(z)](GradTape& tape, AnyTensor<T> gy) {
      tape.give(gz, segment(gy, table, window));
    });
  }
  return op.result(std::move(y));
}

}  // namespace any

// [B, L, C] -> [B, S, K, C]: z[b, c, j] = window[j] x[b, table.start(c) + j], zeros outside of x. window [K], a
// constant, or absent. torch.Tensor.unfold of the padded sequence where both hops are equal.
template <Real T>
Tensor<T, 4> segment(const Tensor<T, 3>& x, const ChunkTable& table, const Arg<Tensor<T, 1>>& window = {}) {
  return Tensor<T, 4>(any::segment(x.any(), table, window.any()));
}

// [B, S, K, C] -> [B, L, C], the transpose of `segment`: overlapping chunks are added, not averaged.
template <Real T>
Tensor<T, 3> overlap_add(const Tensor<T, 4>& z, const ChunkTable& table, const Arg<Tensor<T, 1>>& window = {}) {
  return Tensor<T, 3>(any::overlap_add(z.any(), table, window.any()));
}

// (1 - cos(2 pi j / K)) / 2, the window of which copies K / 2 apart add up to 1. torch.hann_window.
template <Real T>
Tensor<T, 1> hann_window(Context& context, Index length) {
  const Tensor<T, 1> window = context.empty<T>(Shape<1>{length});
  context.run("hann_window", cost_per_element<T>(length, 10, 1), [&](Threads) {
    for (Index j = 0; j < length; ++j) {
      const double angle = 3.14159265358979323846 * static_cast<double>(j) / static_cast<double>(length);
      window.mutable_data()[j] = static_cast<T>(std::sin(angle) * std::sin(angle));
    }
  });
  return window;
}

}  // namespace aulos::inline AULOS_ISA
