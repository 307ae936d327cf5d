// Examples of positions, chunks and spectra.
#include <gtest/gtest.h>

#include "aulos/ops/rope.hpp"
#include "aulos/ops/segment.hpp"
#include "aulos/ops/stft.hpp"
#include "ops/all_ops.hpp"

namespace {

using namespace aulos_test;

Tensor<float, 4> heads(Case<float>& c, Index b, std::uint64_t seed) {
  return c.in<4>(Shape<4>{b, 70, 3, 8}, seed, 0.25);
}
constexpr aulos::ChunkTable halves{23, 6, 10, -3, 3, 3};

const OpExamples examples{
    {{"rope", "cos_sin"},
     {"rope_backward", "cos_sin_backward"},
     [](auto& c, Index b) {
       const auto angles = c.template in<4>(Shape<4>{1, 70, 1, 4}, 2);
       return results(rope(heads(c, b, 1), aulos::rope_table(angles), aulos::RopePairs::interleaved));
     }},
    {{"rope", "rope_table", "grid_positions"},
     {},
     [](auto& c, Index b) {
       const Index widths[] = {4, 4};
       const auto at = aulos::grid_positions<float>(c.context, Shape<2>{10, 7});
       return results(
           rope(heads(c, b, 1), aulos::rope_table(at, std::span<const Index>(widths)), aulos::RopePairs::half_split));
     }},
    {{"rope", "rope_table", "positions"},
     {},
     [](auto& c, Index b) {
       return results(rope(heads(c, b, 1), aulos::rope_table<float>(c.context, 70, 8), aulos::RopePairs::half_split));
     }},
    {{"segment", "overlap_add", "hann_window"},
     {},
     [](auto& c, Index b) {
       const auto window = aulos::hann_window<float>(c.context, halves.chunk);
       return results(overlap_add(segment(c.template in<3>(Shape<3>{b, 23, 3}, 1), halves), halves, window));
     }},
    {{"stft"},
     {"stft_adjoint"},
     [basis = aulos::StftBasis<float>({.n_fft = 16})](auto& c, Index b) {
       return results(stft(c.template in<2>(Shape<2>{b, 70}, 1), basis));
     }},
    {{"stft_adjoint", "istft"},
     {"istft_backward"},
     [basis = aulos::StftBasis<float>({.n_fft = 16})](auto& c, Index b) {
       const auto z = c.template in<4>(Shape<4>{b, 2, 9, 18}, 1);
       return results(istft(z, basis), stft_adjoint(z, basis, 70));
     }},

};

TEST(AllOps, Signals) { examples.check(); }

}  // namespace
