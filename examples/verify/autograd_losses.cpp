// autograd.losses: every loss between the same logits and targets.
#include "aulos/ops/distribution_loss.hpp"
#include "aulos/ops/loss.hpp"
#include "aulos/ops/pointwise_loss.hpp"
#include "aulos/ops/similarity_loss.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

void losses(Case& c) {
  const auto logits = c.input<2>("logits"), target = c.input<2>("target");
  const auto labels = c.indices<1>("labels");
  c.output("cross_entropy", cross_entropy(logits, labels));
  c.output("cross_entropy_smooth",
           cross_entropy(logits, labels, {.smoothing = c.config().get<double>("label_smoothing")}));
  c.output("soft_cross_entropy", soft_cross_entropy(logits, softmax(target)));
  c.output("mse", mse_loss(logits, target));
  c.output("l1", l1_loss(logits, target));
  c.output("smooth_l1", smooth_l1_loss(logits, target));
  c.output("huber", huber_loss(logits, target, 0.5));
  c.output("kl_batchmean", kl_div(log_softmax(logits), softmax(target)));
  c.output("kl_distill", kl_distill(logits, target, c.config().get<double>("T")));
  const auto positive = c.context().empty<float>(target.shape());
  for (Index i = 0; i < target.count(); ++i) positive.mutable_data()[i] = target.data()[i] > 0 ? 1.0f : 0.0f;
  c.output("bce_logits", bce_with_logits(logits, positive));
  c.output("clip", clip_loss(logits, target, c.config().get<double>("tau")));
  c.output("cosine", cosine_loss(logits, target));
}

}  // namespace

void add_autograd_losses(Registry& registry) { registry.add("autograd.losses", losses); }

}  // namespace verify
