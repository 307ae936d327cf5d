// Examples of the ops that work on elements, move them or sum them up.
#include <gtest/gtest.h>

#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/clamp.hpp"
#include "aulos/ops/cumulative_sum.hpp"
#include "aulos/ops/gather.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/pad.hpp"
#include "aulos/ops/reduce.hpp"
#include "aulos/ops/roll.hpp"
#include "aulos/ops/where.hpp"
#include "ops/all_ops.hpp"

namespace {

using namespace aulos_test;
using aulos::Activation;

Shape<3> shape(Index b) { return {b, 30, 7}; }

Tensor<float, 3> x(Case<float>& c, Index b) { return c.in<3>(shape(b), 1); }
Tensor<float, 3> positive(Case<float>& c, Index b) { return c.in<3>(shape(b), 2, 0.25, 1); }
Tensor<std::uint8_t, 3> mask(Case<float>& c, Index b) { return c.context.full<std::uint8_t>(shape(b), 1); }
Tensor<std::int64_t, 2> rows(Case<float>& c, Index b) { return c.context.full<std::int64_t>(Shape<2>{b, 4}, 3); }

OpExample activation(const char* name, Activation of) {
  return {
      {name}, {"activation_backward"}, [of](Case<float>& c, Index b) { return results(apply(positive(c, b), of)); }};
}

const OpExamples examples{
    activation("relu", Activation::relu),
    activation("gelu", Activation::gelu),
    activation("gelu_tanh", Activation::gelu_tanh),
    activation("silu", Activation::silu),
    activation("sigmoid", Activation::sigmoid),
    activation("tanh", Activation::tanh),
    activation("elu_plus_one", Activation::elu_plus_one),
    activation("exp", Activation::exp),
    activation("log", Activation::log),
    activation("sqrt", Activation::sqrt),
    activation("rsqrt", Activation::rsqrt),
    activation("softplus", Activation::softplus),
    {{"add"}, {}, [](auto& c, Index b) { return results(add(x(c, b), positive(c, b))); }},
    {{"add"},
     {},
     [](auto& c, Index b) {
       return results(add(x(c, b), c.template in<3>(Shape<3>{1, 30, 1}, 3)));
     }},
    {{"subtract"}, {}, [](auto& c, Index b) { return results(subtract(x(c, b), positive(c, b))); }},
    {{"multiply"}, {}, [](auto& c, Index b) { return results(multiply(x(c, b), positive(c, b))); }},
    {{"divide"}, {}, [](auto& c, Index b) { return results(divide(x(c, b), positive(c, b))); }},
    {{"linear_combination"}, {}, [](auto& c, Index b) { return results(scale(x(c, b), 3)); }},
    {{"clamp"}, {"clamp_backward"}, [](auto& c, Index b) { return results(clamp(x(c, b), -0.5F, 0.5F)); }},
    {{"cumulative_sum"}, {}, [](auto& c, Index b) { return results(cumulative_sum(x(c, b), 1)); }},
    {{"sum"}, {"spread"}, [](auto& c, Index b) { return results(sum(x(c, b))); }, Kind::reduction},
    {{"mean"}, {"spread"}, [](auto& c, Index b) { return results(mean(x(c, b))); }, Kind::reduction},
    {{"sum_last"}, {"spread"}, [](auto& c, Index b) { return results(sum_last(x(c, b))); }},
    {{"mean_last"}, {"spread"}, [](auto& c, Index b) { return results(mean_last(x(c, b))); }},
    {{"max_last"}, {"max_last_backward"}, [](auto& c, Index b) { return results(max_last(x(c, b))); }},
    {{"where"},
     {"where_backward"},
     [](auto& c, Index b) { return results(where(mask(c, b), x(c, b), positive(c, b))); }},
    {{"masked_fill"},
     {"where_backward"},
     [](auto& c, Index b) { return results(masked_fill(x(c, b), mask(c, b), 2)); }},
    {{"gather_rows"},
     {"gather_backward"},
     [](auto& c, Index b) { return results(gather_rows(x(c, b), rows(c, b))); },
     Kind::movement},
    {{"gather_last"},
     {"gather_backward"},
     [](auto& c, Index b) {
       return results(gather_last(x(c, b), c.context.template full<std::int64_t>(Shape<3>{b, 30, 3}, 5)));
     },
     Kind::movement},
    {{"scatter_add_rows"},
     {"scatter_add_rows_backward"},
     [](auto& c, Index b) {
       return results(scatter_add_rows(x(c, b), rows(c, b), c.template in<3>(Shape<3>{b, 4, 7}, 3)));
     }},
    {{"top_k"}, {"top_k_backward"}, [](auto& c, Index b) { return results(top_k(x(c, b), 3).values); }, Kind::movement},
    {{"dense"}, {}, [](auto& c, Index b) { return results(dense(x(c, b).slice(1, 3, 20))); }, Kind::movement},
    {{"permute"},
     {},
     [](auto& c, Index b) {
       return results(permute(x(c, b), Shape<3>{0, 2, 1}));
     },
     Kind::movement},
    {{"concat"},
     {},
     [](auto& c, Index b) {
       return results(concat(std::array{x(c, b), positive(c, b)}, 1));
     },
     Kind::movement},
    {{"pad"},
     {"pad_backward"},
     [](auto& c, Index b) {
       return results(pad(x(c, b), {aulos::Sides{1, 2}}));
     },
     Kind::movement},
    {{"roll"}, {"roll_backward"}, [](auto& c, Index b) { return results(roll(x(c, b), 4, 1)); }, Kind::movement},
    {{"flip"}, {"flip_backward"}, [](auto& c, Index b) { return results(flip(x(c, b), 1)); }, Kind::movement},
};

TEST(AllOps, OnElements) { examples.check(); }

}  // namespace
