// Examples of convolutions, poolings and what else goes over images.
#include <gtest/gtest.h>

#include "aulos/ops/conv.hpp"
#include "aulos/ops/group_norm.hpp"
#include "aulos/ops/interpolate.hpp"
#include "aulos/ops/patch.hpp"
#include "aulos/ops/pixel_shuffle.hpp"
#include "aulos/ops/pooling.hpp"
#include "ops/all_ops.hpp"

namespace {

using namespace aulos_test;

Tensor<float, 3> sequence(Case<float>& c, Index b) { return c.in<3>(Shape<3>{b, 8, 30}, 1); }
Tensor<float, 4> image(Case<float>& c, Index b) { return c.in<4>(Shape<4>{b, 8, 6, 10}, 1); }
Tensor<float, 1> row(Case<float>& c, Index width, std::uint64_t seed) {
  return c.in<1>(Shape<1>{width}, seed, 0.25, 1);
}

const OpExamples examples{
    {{"group_norm"},
     {"group_norm_backward"},
     [](auto& c, Index b) { return results(group_norm(image(c, b), 2, row(c, 8, 2), row(c, 8, 3), 1e-5)); }},
    {{"batch_norm"},
     {"batch_norm_backward"},
     [](auto& c, Index b) {
       return results(batch_norm(image(c, b), row(c, 8, 2), row(c, 8, 3), row(c, 8, 4), row(c, 8, 5), 1e-5));
     }},
    {{"conv"},
     {"conv_backward"},
     [](auto& c, Index b) {
       return results(conv1d(sequence(c, b), c.template in<3>(Shape<3>{4, 8, 3}, 2), row(c, 4, 3)));
     }},
    {{"conv"},
     {"conv_backward"},
     [](auto& c, Index b) {
       return results(conv2d(image(c, b), c.template in<4>(Shape<4>{8, 1, 3, 3}, 2), {},
                             {.stride = 2, .padding = aulos::Sides{1}, .groups = 8}));
     }},
    {{"conv_transpose"},
     {"conv_transpose_backward"},
     [](auto& c, Index b) {
       return results(
           conv_transpose2d(image(c, b), c.template in<4>(Shape<4>{8, 4, 2, 2}, 2), row(c, 4, 3), {.stride = 2}));
     }},
    {{"avg_pool"},
     {"avg_pool_backward"},
     [](auto& c, Index b) { return results(avg_pool2d(image(c, b), {.kernel = 2})); }},
    {{"max_pool"},
     {"max_pool_backward"},
     [](auto& c, Index b) { return results(max_pool2d(image(c, b), {.kernel = 2})); }},
    {{"adaptive_avg_pool"},
     {"adaptive_avg_pool_backward"},
     [](auto& c, Index b) {
       return results(adaptive_avg_pool2d(image(c, b), {3, 4}));
     }},
    {{"interpolate"},
     {"interpolate_backward"},
     [](auto& c, Index b) {
       return results(interpolate(image(c, b), {.factor = 2.0, .mode = aulos::Interpolation::linear}));
     }},
    {{"pixel_shuffle", "pixel_unshuffle"},
     {},
     [](auto& c, Index b) { return results(pixel_shuffle(image(c, b), 2), pixel_unshuffle(image(c, b), 2)); },
     Kind::movement},
    {{"patchify", "unpatchify"},
     {},
     [](auto& c, Index b) {
       return results(patchify(image(c, b), 2),
                      unpatchify(c.template in<3>(Shape<3>{b, 6, 12}, 2), 2, 3, 2, aulos::PatchOrder::channel_last));
     },
     Kind::movement},
};

TEST(AllOps, Images) { examples.check(); }

}  // namespace
