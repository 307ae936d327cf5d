// Examples of the ops that go along a sequence.
#include <gtest/gtest.h>

#include "aulos/ops/attention.hpp"
#include "aulos/ops/linear_attention.hpp"
#include "aulos/ops/recurrent.hpp"
#include "aulos/ops/selective_scan.hpp"
#include "ops/all_ops.hpp"

namespace {

using namespace aulos_test;
using aulos::RecurrentCell;

Tensor<float, 4> heads(Case<float>& c, Index b, std::uint64_t seed) {
  return c.in<4>(Shape<4>{b, 70, 3, 8}, seed, 0.25);
}

OpExample cell(const char* name, const char* backward, RecurrentCell of) {
  const Index width = aulos::kernels::gates_of(of) * 5;
  aulos::Weight<float> w(width, 5);
  std::fill_n(w.rows().data(), w.count(), 0.25F);
  return {{name}, {backward}, [of, width, w](Case<float>& c, Index b) {
            std::array<aulos::RecurrentDirection<float>, 2> both;
            for (std::size_t d = 0; d < 2; ++d) {
              both[d].gates = c.in<3>(Shape<3>{b, 7, width}, 1 + d);
              both[d].bias = c.in<1>(Shape<1>{width}, 3 + d);
              both[d].weight = &w;
            }
            const auto out = recurrent(of, std::span(both.data(), 2));
            return results(out.y);
          }};
}

const OpExamples examples{
    {{"scaled_dot_product_attention"},
     {"attention_backward"},
     [](auto& c, Index b) {
       const auto q = heads(c, b, 1), k = heads(c, b, 2), v = heads(c, b, 3);
       return results(scaled_dot_product_attention(q, k, v));
     }},
    {{"scaled_dot_product_attention"},
     {"zero_gradient"},  // no keys: nothing else writes the gradient of q
     [](auto& c, Index b) {
       const auto none = c.template in<4>(Shape<4>{b, 0, 3, 8}, 1), q = heads(c, b, 2);
       const auto k = heads(c, b, 3), v = heads(c, b, 4);
       return results(scaled_dot_product_attention(q, none, none), scaled_dot_product_attention(q, k, v));
     }},
    {{"linear_attention"},
     {"linear_attention_backward"},
     [](auto& c, Index b) {
       const auto q = heads(c, b, 1), k = heads(c, b, 2), v = heads(c, b, 3);
       return results(linear_attention(q, k, v, {.form = aulos::kernels::LinearForm::causal}));
     }},
    {{"delta_rule"},
     {"delta_rule_backward"},
     [](auto& c, Index b) {
       const auto q = heads(c, b, 1), k = heads(c, b, 2), v = heads(c, b, 3);
       return results(delta_rule(q, k, v, c.template in<3>(Shape<3>{b, 70, 3}, 4)));
     }},
    {{"selective_scan"},
     {"selective_scan_backward"},
     [](auto& c, Index b) {
       const auto u = c.template in<3>(Shape<3>{b, 70, 6}, 1), delta = c.template in<3>(Shape<3>{b, 70, 6}, 2);
       const auto a = c.template in<2>(Shape<2>{6, 4}, 3, 0.25, -1);
       const auto in = c.template in<3>(Shape<3>{b, 70, 4}, 4), out = c.template in<3>(Shape<3>{b, 70, 4}, 5);
       return results(selective_scan(u, delta, a, in, out));
     }},
    cell("lstm", "lstm_backward", RecurrentCell::lstm),
    cell("gru", "gru_backward", RecurrentCell::gru),
};

TEST(AllOps, AlongSequences) { examples.check(); }

}  // namespace
