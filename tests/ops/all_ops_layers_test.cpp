// Examples of products, normalisations and what modulates them.
#include <gtest/gtest.h>

#include "aulos/ops/channel_affine.hpp"
#include "aulos/ops/l2_normalize.hpp"
#include "aulos/ops/linear.hpp"
#include "aulos/ops/matmul.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/norm.hpp"
#include "aulos/ops/prelu.hpp"
#include "ops/all_ops.hpp"

namespace {

using namespace aulos_test;

Tensor<float, 3> x(Case<float>& c, Index b) { return c.in<3>(Shape<3>{b, 30, 7}, 1); }
Tensor<float, 1> row(Case<float>& c, Index width, std::uint64_t seed) {
  return c.in<1>(Shape<1>{width}, seed, 0.25, 1);
}
Tensor<float, 2> part(Case<float>& c, Index b, std::uint64_t seed) { return c.in<2>(Shape<2>{b, 7}, seed); }

aulos::Weight<float> weight(Index out, Index in) {
  aulos::Weight<float> w(out, in);
  std::fill_n(w.rows().data(), w.count(), 0.25F);
  return w;
}

const OpExamples examples{
    {{"matmul"},
     {},
     [](auto& c, Index b) {
       return results(matmul(x(c, b), c.template in<3>(Shape<3>{b, 7, 9}, 2)));
     }},
    {{"linear"},
     {"linear_backward"},
     [w = weight(9, 7)](auto& c, Index b) { return results(linear(x(c, b), w, row(c, 9, 2))); }},
    {{"linear"},
     {"linear_backward"},
     [w = weight(9, 7)](auto& c, Index b) {
       return results(linear(x(c, b), w, row(c, 9, 2), aulos::Activation::gelu));
     }},
    {{"linear_residual"},
     {"linear_backward", "gated_residual_backward"},
     [w = weight(7, 7)](auto& c, Index b) {
       const auto gate = part(c, b, 3);
       return results(linear_residual(x(c, b), w, row(c, 7, 2), gate, c.template in<3>(Shape<3>{b, 30, 7}, 4)));
     }},
    {{"layer_norm"},
     {"norm_backward"},
     [](auto& c, Index b) { return results(layer_norm(x(c, b), row(c, 7, 2), row(c, 7, 3), 1e-5)); }},
    {{"layer_norm"},
     {"norm_backward"},
     [](auto& c, Index b) {
       const auto shift = part(c, b, 4), scale = part(c, b, 5);
       return results(modulated_layer_norm(x(c, b), {}, {}, shift, scale, 1e-5));
     }},
    {{"rms_norm"}, {"norm_backward"}, [](auto& c, Index b) { return results(rms_norm(x(c, b), row(c, 7, 2), 1e-5)); }},
    {{"l2_normalize"}, {"l2_normalize_backward"}, [](auto& c, Index b) { return results(l2_normalize(x(c, b))); }},
    {{"channel_affine"},
     {"channel_affine_backward"},
     [](auto& c, Index b) { return results(channel_affine(x(c, b), row(c, 7, 2), row(c, 7, 3))); }},
    {{"modulate"},
     {"modulate_backward"},
     [](auto& c, Index b) {
       const auto shift = part(c, b, 2), scale = part(c, b, 3);
       return results(modulate(x(c, b), shift, scale));
     }},
    {{"modulate"},
     {"modulate_backward", "zero_gradient"},  // no tokens, so nothing else writes the gradient of a row
     [](auto& c, Index b) {
       const auto none = c.template in<3>(Shape<3>{b, 0, 7}, 1);
       const auto shift = part(c, b, 2), scale = part(c, b, 3);
       return results(modulate(none, shift, scale), modulate(x(c, b), shift, scale));
     }},
    {{"gated_residual"},
     {"gated_residual_backward"},
     [](auto& c, Index b) {
       const auto f = c.template in<3>(Shape<3>{b, 30, 7}, 2);
       return results(gated_residual(x(c, b), part(c, b, 3), f));
     }},
    {{"prelu"}, {"prelu_backward"}, [](auto& c, Index b) { return results(prelu(x(c, b), row(c, 1, 2))); }},
};

TEST(AllOps, Layers) { examples.check(); }

}  // namespace
