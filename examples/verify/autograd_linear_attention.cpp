// autograd.linear_attention: elu+1 attention over all keys and causal, retention, the delta rule.
#include <cmath>

#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/linear_attention.hpp"
#include "aulos/ops/norm.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

// q, k [B, H, N, D], v [B, H, N, E], beta [B, H, N]: heads in front of tokens.
void linear_attention_case(Case& c) {
  using kernels::LinearForm;
  using kernels::Normaliser;
  const auto heads_second = [](const Tensor<float, 4>& x) { return x.permute_leading({0, 2, 1, 3}); };
  const auto q = heads_second(c.input<4>("q")), k = heads_second(c.input<4>("k")), v = heads_second(c.input<4>("v"));
  const auto beta = c.input<3>("beta");
  const Parameter<float, 1>& decay = c.parameter<1>("decay");
  const double eps = c.config().get<double>("eps");
  const auto out = [&](const char* name, const Tensor<float, 4>& y) { c.output(name, heads_second(y)); };

  const auto fq = elu_plus_one(q), fk = elu_plus_one(k);
  out("linear", linear_attention(fq, fk, v, {.eps = eps}));
  out("linear_causal", linear_attention(fq, fk, v, {.form = LinearForm::causal, .eps = eps}));
  const auto gamma = sigmoid(add(c.context().zeros<float>(decay.shape()), decay));
  out("retention",
      linear_attention(q, k, v, {.form = LinearForm::causal, .normaliser = Normaliser::none}, {.decay = gamma}));
  const auto width = static_cast<float>(k.extent(3));
  const auto unit = scale(rms_norm(k, {}, 0), 1 / std::sqrt(width));  // of norm 1
  out("delta_rule", delta_rule(q, unit, v, permute(sigmoid(beta), {0, 2, 1})));
}

}  // namespace

void add_autograd_linear_attention(Registry& registry) {
  registry.add("autograd.linear_attention", linear_attention_case);
}

}  // namespace verify
