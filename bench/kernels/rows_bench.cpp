// What reads and writes rows of 1536 channels, 64 tokens (all arrays within the second-level cache) and 4096 (25 MB an
// array): positions, norms and modulation with their gradients, sums, rows by index. Counters: see jobs.hpp.
#include <cstdint>
#include <utility>
#include <vector>

#include "aulos/kernels/channel_affine.hpp"
#include "aulos/kernels/cumulative_sum.hpp"
#include "aulos/kernels/embedding.hpp"
#include "aulos/kernels/l2_normalize.hpp"
#include "aulos/kernels/modulate.hpp"
#include "aulos/kernels/norm.hpp"
#include "aulos/kernels/reduce.hpp"
#include "aulos/kernels/rope.hpp"
#include "aulos/kernels/softmax.hpp"
#include "aulos/kernels/top_k.hpp"
#include "bench/kernels/jobs.hpp"

namespace {

namespace kernels = aulos::kernels;
using aulos::Index, aulos::Threads;
using bench::Floats, bench::RowsOperands;

// One row for all tokens.
kernels::SharedRows<float> shared(Floats& row) { return {row.data(), 0, 1}; }

// Heads of 64, all turned by one table; of what angles is all the same.
template <kernels::RopePairs pairs>
void rope(Threads threads, RowsOperands& o) {
  const Index heads = o.columns / 64;
  const kernels::HeadRows<const float> cos{o.f.data(), 0, 32, 0}, sin{o.z.data(), 0, 32, 0};
  kernels::rope<float>(threads, {1, o.rows, heads, 64, 32, pairs}, kernels::Rotation::forward,
                       kernels::tokens_major(std::as_const(o.x).data(), o.rows, heads, 64), {cos, sin},
                       kernels::tokens_major(o.y.data(), o.rows, heads, 64));
}

// The cosines and sines of `columns` angles a token.
void rope_table(Threads threads, RowsOperands& o) {
  static const std::vector<double> frequencies(1536, 0.5);
  static const std::vector<std::int64_t> axis(1536, 2);
  kernels::rope_table<float>(threads, o.rows, 3, o.columns, o.x.data(), frequencies.data(), axis.data(),
                             kernels::RopePrecision::float64, o.y.data(), o.z.data());
}

void layer_norm_backward(Threads threads, RowsOperands& o) {
  kernels::layer_norm_backward<float>(
      threads, {o.rows, o.columns, 1e-6}, {.x = o.rows_of(o.x), .weight = o.a.data()},
      {.gy = o.rows_of(o.f), .gx = o.rows_of(o.y), .weight = o.c.data(), .bias = o.d.data()},
      reinterpret_cast<kernels::RowMoments*>(o.doubles.data()));
}

void softmax_backward(Threads threads, RowsOperands& o) {
  kernels::softmax_backward<float>(threads, o.rows, o.columns, o.rows_of(o.x), o.rows_of(o.f), o.rows_of(o.y));
}

void l2_normalize(Threads threads, RowsOperands& o) {
  kernels::l2_normalize<float>(threads, o.rows, o.columns, 1e-12, o.rows_of(o.x), o.rows_of(o.y));
}
void l2_normalize_backward(Threads threads, RowsOperands& o) {
  kernels::l2_normalize_backward<float>(threads, o.rows, o.columns, 1e-12, o.rows_of(o.x), o.rows_of(o.f),
                                        o.rows_of(o.y));
}

void modulate(Threads threads, RowsOperands& o) {
  kernels::modulate<float>(threads, o.rows, o.columns, o.rows_of(o.x), shared(o.a), shared(o.b), o.rows_of(o.y));
}
void modulate_backward(Threads threads, RowsOperands& o) {
  kernels::modulate_backward<float>(threads, o.rows, o.columns, o.rows_of(o.x), shared(o.a), o.rows_of(o.f),
                                    o.rows_of(o.y), shared(o.c), shared(o.d));
}

void gated_residual(Threads threads, RowsOperands& o) {
  kernels::gated_residual<float>(threads, o.rows, o.columns, o.rows_of(o.x), shared(o.a), o.rows_of(o.f),
                                 o.rows_of(o.y));
}
void gated_residual_backward(Threads threads, RowsOperands& o) {
  kernels::gated_residual_backward<float>(threads, o.rows, o.columns, shared(o.a), o.rows_of(o.x), o.rows_of(o.f),
                                          o.rows_of(o.y), shared(o.c));
}

void channel_affine(Threads threads, RowsOperands& o) {
  kernels::channel_affine<float>(threads, o.rows, o.columns, o.rows_of(o.x), o.a.data(), o.b.data(), o.rows_of(o.y));
}

void row_sum(Threads threads, RowsOperands& o) {
  kernels::row_sum<float>(threads, o.x.data(), o.columns, nullptr, 0, o.rows, o.columns, 1.0, o.of_rows.data());
}
void column_sum(Threads threads, RowsOperands& o) {
  kernels::column_sum_add<float>(threads, o.x.data(), o.columns, nullptr, 0, o.rows, o.columns, o.c.data());
}
void row_max(Threads threads, RowsOperands& o) {
  kernels::row_max<float>(threads, o.x.data(), o.columns, o.rows, o.columns, o.of_rows.data(), o.at.data());
}

// The largest of each row, as row_max, by the general kernel.
void top_1(Threads threads, RowsOperands& o) {
  kernels::top_k<float>(threads, o.x.data(), o.columns, o.rows, o.columns, 1, o.of_rows.data(), o.at.data());
}

// Along the channels, or along the tokens.
void cumulative_sum_of_rows(Threads threads, RowsOperands& o) {
  kernels::cumulative_sum<float>(threads, kernels::SumDirection::forward, o.rows, o.columns, 1, o.x.data(), o.y.data());
}
void cumulative_sum_of_columns(Threads threads, RowsOperands& o) {
  kernels::cumulative_sum<float>(threads, kernels::SumDirection::forward, 1, o.rows, o.columns, o.x.data(), o.y.data());
}

void gather_rows(Threads threads, RowsOperands& o) {
  kernels::gather_rows<float>(threads, o.x.data(), o.columns, o.ids.data(), o.rows, o.columns, o.y.data());
}
void scatter_add_rows(Threads threads, RowsOperands& o) {
  kernels::scatter_add_rows<float>(threads, o.x.data(), o.ids.data(), o.rows, o.columns, -1, o.y.data(), o.columns);
}

const bool registered = [] {
  const bench::RowsJob jobs[] = {{"rope_interleaved", 3, 2, rope<kernels::RopePairs::interleaved>},
                                 {"rope_half_split", 3, 2, rope<kernels::RopePairs::half_split>},
                                 {"layer_norm_backward", 16, 3, layer_norm_backward},
                                 {"softmax_backward", 4, 3, softmax_backward},
                                 {"l2_normalize", 3, 2, l2_normalize},
                                 {"l2_normalize_backward", 8, 3, l2_normalize_backward},
                                 {"modulate", 2, 2, modulate},
                                 {"modulate_backward", 4, 3, modulate_backward},
                                 {"gated_residual", 2, 3, gated_residual},
                                 {"gated_residual_backward", 3, 3, gated_residual_backward},
                                 {"channel_affine", 2, 2, channel_affine},
                                 {"row_sum", 1, 1, row_sum},
                                 {"column_sum", 1, 1, column_sum},
                                 {"row_max", 1, 1, row_max},
                                 {"top_1", 4, 1, top_1, kernels::top_k_scratch},
                                 {"cumulative_sum_of_rows", 1, 2, cumulative_sum_of_rows},
                                 {"cumulative_sum_of_columns", 1, 2, cumulative_sum_of_columns},
                                 {"gather_rows", 0, 2, gather_rows},
                                 {"scatter_add_rows", 1, 3, scatter_add_rows}};
  const bench::RowsSize sizes[] = {{64, 1536}, {4096, 1536}};
  bench::add_jobs(jobs, sizes);
  // By far the most expensive element, and few of them.
  const bench::RowsJob angles[] = {{"rope_table", 40, 2, rope_table}};
  const bench::RowsSize angle_sizes[] = {{1024, 64}};
  bench::add_jobs(angles, angle_sizes);
  return true;
}();

}  // namespace
