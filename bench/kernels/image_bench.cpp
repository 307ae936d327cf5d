// Feature maps [planes, rows, columns]: group norm, pooling, resampling, padding, with gradients of what training uses
// most. 64 planes of 32 by 32 (all arrays within the second-level cache) and 256 of 128 by 128 (17 MB). Counters: see
// jobs.hpp.
#include <cstdint>
#include <string>
#include <vector>

#include "aulos/kernels/group_norm.hpp"
#include "aulos/kernels/interpolate.hpp"
#include "aulos/kernels/pad.hpp"
#include "aulos/kernels/pooling.hpp"
#include "bench/kernels/jobs.hpp"

namespace {

namespace kernels = aulos::kernels;
using aulos::Cost, aulos::cost_per_element, aulos::Index, aulos::Threads;
using bench::fill, bench::Job, bench::zeros;
using kernels::WindowAxis;

// Square planes.
struct Maps {
  Index planes, side;

  Index count() const { return planes * side * side; }
};

// 32 groups, moments and what follows from them.
kernels::GroupNormShape group_norm_shape(const Maps& m) { return {1, m.planes, m.side * m.side, 32, 1e-6}; }

Job group_norm(const Maps& m) {
  const kernels::GroupNormShape s = group_norm_shape(m);
  std::vector<double> workspace(static_cast<std::size_t>(kernels::group_moments_workspace(s)) / sizeof(double));
  return {cost_per_element<float>(m.count(), 8, 3),
          [=, x = fill(m.count(), 1), weight = fill(m.planes, 2), bias = fill(m.planes, 3), y = zeros(m.count()),
           moments = std::vector<kernels::RowMoments>(32)](Threads threads) mutable {
            kernels::group_moments<float>(threads, s, x.data(), workspace.data(), moments.data());
            kernels::normalise_channels<float>(threads, s, {moments.data(), m.planes, m.planes / 32}, x.data(),
                                               weight.data(), bias.data(), y.data());
          }};
}

Job group_norm_backward(const Maps& m) {
  const kernels::GroupNormShape s = group_norm_shape(m);
  return {cost_per_element<float>(m.count(), 16, 5),
          [=, x = fill(m.count(), 1), gy = fill(m.count(), 2), weight = fill(m.planes, 3), gx = zeros(m.count()),
           gweight = zeros(m.planes), gbias = zeros(m.planes),
           moments = std::vector<kernels::RowMoments>(32, kernels::RowMoments{0, 1}),
           sums = std::vector<kernels::ChannelSums>(static_cast<std::size_t>(m.planes)),
           means = std::vector<kernels::ChannelSums>(32)](Threads threads) mutable {
            const kernels::ChannelMoments of{moments.data(), m.planes, m.planes / 32};
            kernels::channel_sums<float>(threads, s, of, x.data(), gy.data(), sums.data(), gweight.data(),
                                         gbias.data());
            kernels::normalise_channels_backward<float>(threads, s, of, x.data(), weight.data(), gy.data(), sums.data(),
                                                        means.data(), gx.data());
          }};
}

// Windows of 2 by 2 without overlap, or of 3 by 3 every second pixel.
kernels::PoolShape windows(const Maps& m, Index kernel) {
  const Index padding = (kernel - 1) / 2;
  const WindowAxis axis{m.side, m.side / 2, kernel, 2, padding};
  return {m.planes, axis, axis};
}
Cost pool_cost(const kernels::PoolShape& s, double taps, std::size_t scratch = 0) {
  const auto in = static_cast<double>(s.planes * s.plane()), out = static_cast<double>(s.planes * s.positions());
  return {taps * out, (in + out) * sizeof(float), scratch};
}

Job avg_pool_2(const Maps& m) {
  const kernels::PoolShape s = windows(m, 2);
  return {pool_cost(s, 4, kernels::avg_pool_scratch<float>(s)),
          [=, x = fill(m.count(), 1), y = zeros(m.count() / 4)](Threads threads) mutable {
            kernels::avg_pool<float>(threads, s, kernels::PoolDivisor::window, x.data(), y.data());
          }};
}
Job avg_pool_2_backward(const Maps& m) {
  const kernels::PoolShape s = windows(m, 2);
  return {pool_cost(s, 4, kernels::avg_pool_scratch<float>(s)),
          [=, gy = fill(m.count() / 4, 1), gx = zeros(m.count())](Threads threads) mutable {
            kernels::avg_pool_backward<float>(threads, s, kernels::PoolDivisor::window, gy.data(), gx.data());
          }};
}
// Without and with the places that training needs.
Job max_pool_3(const Maps& m) {
  const kernels::PoolShape s = windows(m, 3);
  return {pool_cost(s, 9), [=, x = fill(m.count(), 1), y = zeros(m.count() / 4)](Threads threads) mutable {
            kernels::max_pool<float>(threads, s, x.data(), y.data(), nullptr);
          }};
}
Job max_pool_3_places(const Maps& m) {
  const kernels::PoolShape s = windows(m, 3);
  return {pool_cost(s, 9),
          [=, x = fill(m.count(), 1), y = zeros(m.count() / 4),
           at = std::vector<std::int64_t>(static_cast<std::size_t>(m.count() / 4))](Threads threads) mutable {
            kernels::max_pool<float>(threads, s, x.data(), y.data(), at.data());
          }};
}
Job global_avg_pool(const Maps& m) {
  const kernels::PoolShape s{m.planes, {m.side, 1}, {m.side, 1}};
  return {cost_per_element<float>(m.count(), 1, 1),
          [=, x = fill(m.count(), 1), y = zeros(m.planes)](Threads threads) mutable {
            kernels::adaptive_avg_pool<float>(threads, s, x.data(), y.data());
          }};
}

// To twice as many rows and columns, from a quarter of the pixels.
template <kernels::Interpolation mode>
Job upsample(const Maps& m) {
  const kernels::ResampleAxis axis{m.side / 2, m.side};
  const kernels::ResampleShape s{m.planes, axis, axis};
  const double taps = kernels::resample_taps(mode);
  const Cost cost{2 * taps * static_cast<double>(m.planes * m.side * (axis.in + axis.out)),
                  1.25 * sizeof(float) * static_cast<double>(m.count()), kernels::interpolate_scratch<float>(s, mode)};
  return {cost, [=, x = fill(m.count() / 4, 1), y = zeros(m.count())](Threads threads) mutable {
            kernels::interpolate<float>(threads, s, mode, kernels::Corners::half_pixel, x.data(), y.data());
          }};
}
Job upsample_linear_backward(const Maps& m) {
  constexpr auto mode = kernels::Interpolation::linear;
  const kernels::ResampleAxis axis{m.side / 2, m.side};
  const kernels::ResampleShape s{m.planes, axis, axis};
  const Cost cost{4.0 * static_cast<double>(m.planes * m.side * (axis.in + axis.out)),
                  1.25 * sizeof(float) * static_cast<double>(m.count()), kernels::interpolate_scratch<float>(s, mode)};
  return {cost, [=, gy = fill(m.count(), 1), gx = zeros(m.count() / 4)](Threads threads) mutable {
            kernels::interpolate_backward<float>(threads, s, mode, kernels::Corners::half_pixel, gy.data(), gx.data());
          }};
}

// A frame of one pixel around every plane.
template <kernels::PadMode mode>
Job pad(const Maps& m) {
  const kernels::PadAxis axis{m.side, m.side + 2, 1, mode};
  const kernels::PadShape s{3, {{m.planes, m.planes}, axis, axis}};
  return {cost_per_element<float>(s.out(), 0, 2),
          [=, x = fill(s.in(), 1), y = zeros(s.out())](Threads threads) mutable {
            kernels::pad<float>(threads, s, 0.0f, x.data(), y.data());
          }};
}
Job pad_reflect_backward(const Maps& m) {
  const kernels::PadAxis axis{m.side, m.side + 2, 1, kernels::PadMode::reflect};
  const kernels::PadShape s{3, {{m.planes, m.planes}, axis, axis}};
  return {cost_per_element<float>(s.out(), 1, 2),
          [=, gy = fill(s.out(), 1), gx = zeros(s.in())](Threads threads) mutable {
            kernels::pad_backward<float>(threads, s, gy.data(), gx.data());
          }};
}
// Shifted windows.
Job roll(const Maps& m) {
  const kernels::PadAxis axis{m.side, m.side, m.side / 8, kernels::PadMode::circular};
  const kernels::PadShape s{3, {{m.planes, m.planes}, axis, axis}};
  return {cost_per_element<float>(s.out(), 0, 2),
          [=, x = fill(s.in(), 1), y = zeros(s.out())](Threads threads) mutable {
            kernels::pad<float>(threads, s, 0.0f, x.data(), y.data());
          }};
}

const bool registered = [] {
  using kernels::Interpolation, kernels::PadMode;
  const struct {
    const char* name;
    Job (*make)(const Maps& m);
  } jobs[] = {{"group_norm", group_norm},
              {"group_norm_backward", group_norm_backward},
              {"avg_pool_2", avg_pool_2},
              {"avg_pool_2_backward", avg_pool_2_backward},
              {"max_pool_3", max_pool_3},
              {"max_pool_3_places", max_pool_3_places},
              {"global_avg_pool", global_avg_pool},
              {"upsample_nearest", upsample<Interpolation::nearest>},
              {"upsample_linear", upsample<Interpolation::linear>},
              {"upsample_linear_backward", upsample_linear_backward},
              {"upsample_cubic", upsample<Interpolation::cubic>},
              {"pad_zeros", pad<PadMode::constant>},
              {"pad_reflect", pad<PadMode::reflect>},
              {"pad_reflect_backward", pad_reflect_backward},
              {"roll", roll}};
  for (const auto& job : jobs) {
    for (const Maps& m : {Maps{64, 32}, Maps{256, 128}}) {
      bench::add_job(std::string(job.name) + "/" + std::to_string(m.planes) + "_" + std::to_string(m.side),
                     [make = job.make, m] { return make(m); });
    }
  }
  return true;
}();

}  // namespace
