// autograd.pointwise: activations, softmax family, norms, products and modulation, one output of each.
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/group_norm.hpp"
#include "aulos/ops/l2_normalize.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/linear.hpp"
#include "aulos/ops/matmul.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/norm.hpp"
#include "aulos/ops/softmax.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

struct Pointwise {
  Weight<float> w, w2;
  Parameter<float, 1> b, g, beta;

  Pointwise(Index d, Index e) : w(e, d), w2(e, d), b(Shape<1>{e}), g(Shape<1>{d}), beta(Shape<1>{d}) {}
  void visit(auto&& v) {
    v("w", w);
    v("w2", w2);
    v("b", b);
    v("g", g);
    v("beta", beta);
  }
};

void pointwise(Case& c) {
  const auto& weights = c.checkpoint().info("param/w").shape;
  const auto& p = c.module<Pointwise>(weights[1], weights[0]);
  const auto x = c.input<3>("x");
  const auto scale = c.input<2>("scale"), shift = c.input<2>("shift"), gate = c.input<2>("gate");
  const Index batch = x.extent(0), tokens = x.extent(1), d = x.extent(2);

  c.output("relu", relu(x));
  c.output("gelu_erf", gelu(x));
  c.output("gelu_tanh", gelu_tanh(x));
  c.output("silu", silu(x));
  c.output("sigmoid", sigmoid(x));
  c.output("tanh", tanh(x));
  c.output("softplus", apply(x, Activation::softplus));
  c.output("softmax", softmax(x));
  c.output("log_softmax", log_softmax(x));
  c.output("logsumexp", logsumexp(x).reshape(Shape<2>{batch, tokens}));
  c.output("l2_normalize", l2_normalize(x));
  c.output("layer_norm", layer_norm(x, p.g, p.beta, 1e-5));
  const auto plain = layer_norm(x, {}, {}, 1e-6);
  c.output("layer_norm_plain", plain);
  c.output("rms_norm", rms_norm(x, p.g, 1e-6));
  const Index groups = c.config().get<Index>("groups");
  c.output("group_norm", group_norm(permute(x, Shape<3>{0, 2, 1}), groups, p.g, p.beta, 1e-5));
  const auto y = linear(x, p.w, p.b);
  c.output("linear", y);
  c.output("swiglu", multiply(silu(linear(x, p.w)), linear(x, p.w2)));
  c.output("matmul", matmul(x, x, Transpose::b));
  c.output("modulate", modulate(plain, shift, scale));
  c.output("gate", gated_residual(Tensor<float, 3>(x), gate, y.slice(2, 0, d)));
}

}  // namespace

void add_autograd_pointwise(Registry& registry) { registry.add("autograd.pointwise", pointwise); }

}  // namespace verify
