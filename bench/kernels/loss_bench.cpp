// Losses with their gradients: cross entropy of 64 rows of a thousand classes and of 256 rows of a vocabulary of 32000
// (33 MB), and those of one prediction and its target, over as many. Counters: see jobs.hpp.
#include "aulos/kernels/loss.hpp"

#include <cstdint>

#include "aulos/kernels/pointwise_loss.hpp"
#include "aulos/kernels/variational_bound.hpp"
#include "bench/kernels/jobs.hpp"

namespace {

namespace kernels = aulos::kernels;
using aulos::Threads;
using bench::RowsOperands;

constexpr double smoothing = 0.1;

// The rows' numbers are their labels.
void cross_entropy(Threads threads, RowsOperands& o) {
  kernels::cross_entropy<float>(threads, o.x.data(), o.columns, o.ids.data(), o.rows, o.columns, -100, smoothing,
                                o.of_rows.data(), o.doubles.data());
}
// With the maximum 0 and the log-sum 0 of every row, which is as much work as any other.
void cross_entropy_backward(Threads threads, RowsOperands& o) {
  kernels::cross_entropy_backward<float>(threads, o.x.data(), o.columns, o.ids.data(), o.doubles.data(), o.rows,
                                         o.columns, -100, smoothing, 1.0, o.y.data());
}

template <class Term>
constexpr Term term{};
template <>
constexpr kernels::HuberError<float> term<kernels::HuberError<float>>{1.0f, 1.0f};

// Targets of [-1, 1): where a term takes the logarithm of one, of some it is NaN, at the same cost.
template <class Term>
void pointwise(Threads threads, RowsOperands& o) {
  benchmark::DoNotOptimize(
      kernels::pointwise_loss<float>(threads, term<Term>, o.count, o.x.data(), o.f.data(), o.doubles.data()));
}
template <class Term>
void pointwise_backward(Threads threads, RowsOperands& o) {
  kernels::pointwise_loss_backward<float>(threads, term<Term>, o.count, o.x.data(), o.f.data(), 1.0f, o.y.data(),
                                          nullptr);
}

// A row is a sample.
void variational_bound(Threads threads, RowsOperands& o) {
  const auto* first_step = reinterpret_cast<const std::uint8_t*>(o.of_rows.data());  // zeros: none is at its first step
  kernels::variational_bound<float>(threads,
                                    {o.x.data(), o.x.data(), o.f.data(), o.z.data(), o.of_rows.data(), first_step},
                                    o.rows, o.columns, o.y.data());
}

const bool registered = [] {
  using Absolute = kernels::AbsoluteError<float>;
  using Huber = kernels::HuberError<float>;
  using Kl = kernels::KlTerm<float>;
  using Binary = kernels::BinaryCrossEntropy<float>;
  const bench::RowsJob jobs[] = {{"cross_entropy", 8, 1, cross_entropy},
                                 {"cross_entropy_backward", 8, 2, cross_entropy_backward},
                                 {"l1", 4, 2, pointwise<Absolute>},
                                 {"l1_backward", 4, 3, pointwise_backward<Absolute>},
                                 {"huber", 4, 2, pointwise<Huber>},
                                 {"huber_backward", 4, 3, pointwise_backward<Huber>},
                                 {"kl", 4, 2, pointwise<Kl>},
                                 {"binary_cross_entropy", 4, 2, pointwise<Binary>},
                                 {"binary_cross_entropy_backward", 4, 3, pointwise_backward<Binary>}};
  const bench::RowsSize sizes[] = {{64, 1000}, {256, 32000}};
  bench::add_jobs(jobs, sizes);
  const bench::RowsJob bounds[] = {{"variational_bound", 60, 5, variational_bound}};
  const bench::RowsSize latents[] = {{16, 4096}};
  bench::add_jobs(bounds, latents);
  return true;
}();

}  // namespace
