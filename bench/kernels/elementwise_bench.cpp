// What reads and writes elements one by one: arithmetic, choices, gated activations, copies to other layouts, updates
// of parameters. Arrays of 64 by 1536 (a few fit in the second-level cache) and of 25 MB. Counters: see jobs.hpp.
#include "aulos/kernels/elementwise.hpp"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "aulos/kernels/activation.hpp"
#include "aulos/kernels/copy.hpp"
#include "aulos/kernels/optimizer.hpp"
#include "aulos/kernels/prelu.hpp"
#include "aulos/kernels/where.hpp"
#include "bench/kernels/jobs.hpp"

namespace {

namespace kernels = aulos::kernels;
namespace simd = aulos::simd;
using aulos::Dims, aulos::Index, aulos::Threads;
using bench::RowsOperands;

Dims dims_of(std::initializer_list<Index> extents, std::initializer_list<Index> strides) {
  Dims dims{static_cast<int>(extents.size())};
  std::copy(extents.begin(), extents.end(), dims.extent);
  std::copy(strides.begin(), strides.end(), dims.stride);
  return dims;
}
Dims matrix(const RowsOperands& o) { return dims_of({o.rows, o.columns}, {o.columns, 1}); }
// One row for all.
Dims repeated_row(const RowsOperands& o) { return dims_of({o.rows, o.columns}, {0, 1}); }

void add(Threads threads, RowsOperands& o) {
  kernels::binary(threads, o.x.data(), matrix(o), o.f.data(), matrix(o), o.y.data(), matrix(o), kernels::Add{});
}
void divide_by_row(Threads threads, RowsOperands& o) {
  kernels::binary(threads, o.x.data(), matrix(o), o.a.data(), repeated_row(o), o.y.data(), matrix(o),
                  kernels::Divide{});
}
void linear_combination(Threads threads, RowsOperands& o) {
  const kernels::Term<float> terms[] = {{0.5f, o.x.data()}, {-1.5f, o.f.data()}, {0.25f, o.z.data()}};
  kernels::linear_combination<float>(threads, terms, 0.0f, o.y.data(), o.count);
}
void where(Threads threads, RowsOperands& o) {
  const auto* mask = reinterpret_cast<const std::uint8_t*>(o.z.data());  // the first quarter of z: 1 byte in 256 is 0
  kernels::where<float>(threads, mask, matrix(o), o.x.data(), matrix(o), o.f.data(), matrix(o), o.y.data(), matrix(o));
}
void prelu(Threads threads, RowsOperands& o) {
  kernels::prelu<float>(threads, o.count, o.x.data(), o.a.data(), o.y.data());
}
void prelu_backward(Threads threads, RowsOperands& o) {
  kernels::prelu_backward<float>(threads, o.count, o.x.data(), o.a.data(), o.f.data(), o.y.data(), o.c.data(),
                                 o.doubles.data());
}

// SwiGLU of the halves of rows, as one product leaves them: an output for two elements of x.
void swiglu(Threads threads, RowsOperands& o) {
  const Index half = o.columns / 2;
  kernels::gated_activation<float>(threads, o.rows, half, {o.x.data(), o.columns}, {o.x.data() + half, o.columns},
                                   {o.y.data(), half}, simd::Silu{});
}
void gelu_backward(Threads threads, RowsOperands& o) {
  kernels::activate_backward<float>(threads, 1, o.count, {o.x.data(), o.count}, {o.f.data(), o.count},
                                    {o.y.data(), o.count}, simd::Gelu{});
}

// Tokens with heads of 64 side by side, and heads with their tokens side by side.
void copy_heads_out(Threads threads, RowsOperands& o) {
  const Index heads = o.columns / 64;
  kernels::copy(threads, o.x.data(), dims_of({heads, o.rows, 64}, {64, o.columns, 1}), o.y.data(),
                dims_of({heads, o.rows, 64}, {o.rows * 64, 64, 1}));
}
void copy_heads_back(Threads threads, RowsOperands& o) {
  const Index heads = o.columns / 64;
  kernels::copy(threads, o.x.data(), dims_of({o.rows, heads, 64}, {64, o.rows * 64, 1}), o.y.data(),
                dims_of({o.rows, heads, 64}, {o.columns, 64, 1}));
}
void copy_transposed(Threads threads, RowsOperands& o) {
  kernels::copy(threads, o.x.data(), dims_of({o.columns, o.rows}, {1, o.columns}), o.y.data(),
                dims_of({o.columns, o.rows}, {o.rows, 1}));
}
void add_to(Threads threads, RowsOperands& o) {
  kernels::add_to(threads, o.x.data(), matrix(o), o.y.data(), matrix(o));
}
void add_to_row(Threads threads, RowsOperands& o) {
  kernels::add_to(threads, o.x.data(), matrix(o), o.c.data(), repeated_row(o));
}

void adamw(Threads threads, RowsOperands& o) {
  kernels::adamw<float>(threads, {}, o.x.data(), o.f.data(), o.y.data(), o.z.data(), o.count);
}
void sgd(Threads threads, RowsOperands& o) {
  kernels::sgd<float>(threads, {.momentum = 0.9, .first = false}, o.x.data(), o.f.data(), o.z.data(), o.count);
}
void ema(Threads threads, RowsOperands& o) { kernels::ema<float>(threads, 0.999, o.x.data(), o.z.data(), o.count); }

const bool registered = [] {
  const bench::RowsJob jobs[] = {{"add", 1, 3, add},
                                 {"divide_by_row", 1, 2, divide_by_row},
                                 {"linear_combination_of_3", 6, 4, linear_combination},
                                 {"where", 1, 3.25, where},
                                 {"prelu", 2, 2, prelu},
                                 {"prelu_backward", 4, 3, prelu_backward},
                                 {"swiglu", 5.5, 1.5, swiglu},
                                 {"gelu_backward", 20, 3, gelu_backward},
                                 {"copy_heads_out", 0, 2, copy_heads_out},
                                 {"copy_heads_back", 0, 2, copy_heads_back},
                                 {"copy_transposed", 0, 2, copy_transposed},
                                 {"add_to", 1, 3, add_to},
                                 {"add_to_row", 1, 1, add_to_row},
                                 {"adamw", 12, 7, adamw},
                                 {"sgd", 4, 5, sgd},
                                 {"ema", 3, 3, ema}};
  const bench::RowsSize sizes[] = {{64, 1536}, {4096, 1536}};
  bench::add_jobs(jobs, sizes);
  return true;
}();

}  // namespace
