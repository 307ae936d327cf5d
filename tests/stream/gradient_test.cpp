// Gradients of stream blocks against central differences: with respect to streams, modulation rows and all parameters.
// Blocks that together hold every part, and every pair of parts that share code.
#include <gtest/gtest.h>

#include "aulos/autograd/gradcheck.hpp"
#include "stream/block_support.hpp"

namespace {

using namespace block_support;
using aulos::AnyTensor;

// Streams and rows of the block as one list of inputs, in order.
template <class Streams, class Modulations, class F>
void each_input(Streams& x, Modulations& m, F&& f) {
  for (std::size_t s = 0; s < x.size(); ++s) {
    f(x[s]);
    for (auto* of : {&m[s].attention, &m[s].mlp})
      for (auto* row : {&of->shift, &of->scale, &of->gate})
        if (!row->empty()) f(*row);
  }
}

template <class Block>
void expect_gradients(const char* name, bool per_token, const std::array<Parts, 2>& parts = {}) {
  SCOPED_TRACE(name);
  Context context({.threads = 1});
  const std::array<Index, 2> channels{3, 4};
  Named<Block> named = make<Block>(channels, parts);
  Inputs<double, 2> in(context, channels, per_token, {2, 3, 0});
  if (parts[1] == Parts::keys_only) {  // as its model would have it: no gate, no second sublayer
    in.m[1].attention.gate = {};
    in.m[1].mlp = {};
  }
  std::vector<AnyTensor<double>> inputs;
  each_input(in.x, in.m, [&](auto& x) { inputs.push_back(x.any()); });
  const auto f = [&](std::span<const AnyTensor<double>> given, std::vector<AnyTensor<double>>& results) {
    auto x = in.x;
    auto m = in.m;
    std::size_t at = 0;
    each_input(x, m, [&](auto& t) { t = Tensor<double, 3>(given[at++]); });
    const auto y = named.block(std::move(x), m);
    for (std::size_t s = 0; s < 2; ++s)
      if (parts[s] == Parts::all) results.push_back(y[s].any());
  };
  std::vector<aulos::GradcheckParameter> parameters = naive::parameters_of(named);
  if (parts[1] == Parts::keys_only)  // what nothing reads has no gradient to check
    std::erase_if(parameters,
                  [](const auto& p) { return p.name.rfind("1.norm2", 0) == 0 || p.name.rfind("1.after", 0) == 0; });
  const auto result = gradcheck_list(context, f, inputs, parameters);
  EXPECT_TRUE(result) << to_string(result);
}

using L = LayerNorm<double>;
using R = RmsNorm<double>;
using None = NoQkNorm<double>;
using Head = PerHead<RmsNorm<double>>;
using Across = AcrossHeads<RmsNorm<double>>;

template <class Norm, class QkNorm, class FeedForward, class Rule, class Coupling>
using Two = StreamBlock<double, 2, Norm, QkNorm, FeedForward, Rule, Coupling>;

TEST(StreamBlockGradients, Gated) {
  expect_gradients<Two<L, Head, Mlp<double>, Gated, Joint<>>>("SD3.5, Flux", false);
  expect_gradients<Two<L, Head, Mlp<double>, Gated, Joint<>>>("last block of SD3.5", false,
                                                              {Parts::all, Parts::keys_only});
  expect_gradients<Two<R, Across, Mlp<double>, Gated, CrossBothWays<>>>("LTX-2", true);
  expect_gradients<Two<L, None, SwiGlu<double>, Gated, SelfOnly<>>>("alone", true);
}

TEST(StreamBlockGradients, Sandwich) {
  expect_gradients<Two<R, Head, SwiGlu<double>, SandwichTanh<R>, Joint<>>>("Mochi", false);
  expect_gradients<Two<L, Across, Mlp<double>, SandwichTanh<L>, SelfOnly<>>>("alone", true);
}

TEST(StreamBlockGradients, FromInput) {
  expect_gradients<Two<L, Head, SwiGlu<double>, FromInput, Joint<>>>("AuraFlow", false);
  expect_gradients<Two<R, None, Mlp<double>, FromInput, CrossBothWays<>>>("across", true);
}

}  // namespace
