// Examples of losses, of what they are made of, and of embeddings.
#include <gtest/gtest.h>

#include "aulos/ops/distribution_loss.hpp"
#include "aulos/ops/embedding.hpp"
#include "aulos/ops/fourier_features.hpp"
#include "aulos/ops/loss.hpp"
#include "aulos/ops/pointwise_loss.hpp"
#include "aulos/ops/similarity_loss.hpp"
#include "aulos/ops/sinusoid.hpp"
#include "aulos/ops/softmax.hpp"
#include "aulos/ops/variational_bound.hpp"
#include "ops/all_ops.hpp"

namespace {

using namespace aulos_test;

Shape<3> shape(Index b) { return {b, 30, 7}; }

Tensor<float, 3> x(Case<float>& c, Index b) { return c.in<3>(shape(b), 1); }
Tensor<float, 3> other(Case<float>& c, Index b) { return c.in<3>(shape(b), 2, 0.25, 0.5); }
Tensor<float, 2> square(Case<float>& c, std::uint64_t seed) { return c.in<2>(Shape<2>{9, 9}, seed); }

const OpExamples examples{
    {{"softmax"}, {"softmax_backward"}, [](auto& c, Index b) { return results(softmax(x(c, b))); }},
    {{"log_softmax"}, {"softmax_backward"}, [](auto& c, Index b) { return results(log_softmax(x(c, b))); }},
    {{"logsumexp"}, {"logsumexp_backward"}, [](auto& c, Index b) { return results(logsumexp(x(c, b))); }},
    {{"cross_entropy"},
     {"cross_entropy_backward"},
     [](auto& c, Index b) {
       return results(cross_entropy(x(c, b), c.context.template full<std::int64_t>(Shape<2>{b, 30}, 3)));
     },
     Kind::reduction},
    {{"mse_loss"}, {}, [](auto& c, Index b) { return results(mse_loss(x(c, b), other(c, b))); }, Kind::reduction},
    {{"l1_loss"},
     {"pointwise_loss_backward"},
     [](auto& c, Index b) { return results(l1_loss(x(c, b), other(c, b))); },
     Kind::reduction},
    {{"smooth_l1_loss"},
     {"pointwise_loss_backward"},
     [](auto& c, Index b) { return results(smooth_l1_loss(x(c, b), other(c, b))); },
     Kind::reduction},
    {{"huber_loss"},
     {"pointwise_loss_backward"},
     [](auto& c, Index b) { return results(huber_loss(x(c, b), other(c, b))); },
     Kind::reduction},
    {{"bce_with_logits"},
     {"pointwise_loss_backward"},
     [](auto& c, Index b) { return results(bce_with_logits(x(c, b), other(c, b))); },
     Kind::reduction},
    {{"kl_div"},
     {"pointwise_loss_backward"},
     [](auto& c, Index b) { return results(kl_div(x(c, b), other(c, b))); },
     Kind::reduction},
    {{"log_softmax", "multiply"},
     {},
     [](auto& c, Index b) { return results(soft_cross_entropy(x(c, b), other(c, b))); },
     Kind::reduction},
    {{"log_softmax", "softmax", "kl_distill"},
     {"softmax_backward"},
     [](auto& c, Index b) { return results(kl_distill(x(c, b), other(c, b), 2)); },
     Kind::reduction},
    {{"l2_normalize"},
     {},
     [](auto& c, Index b) { return results(cosine_loss(x(c, b), other(c, b))); },
     Kind::reduction},
    {{"cross_entropy", "diagonal"},
     {},
     [](auto& c, Index) { return results(contrastive_loss(square(c, 1))); },
     Kind::reduction},
    {{"cross_entropy", "matmul"},
     {},
     [](auto& c, Index) { return results(clip_loss(square(c, 1), square(c, 2), 0.5)); },
     Kind::reduction},
    {{"variational_bound"},
     {"variational_bound_backward"},
     [](auto& c, Index b) {
       const auto x0 = c.context.template zeros<float>(shape(b)), mean = c.context.template zeros<float>(shape(b));
       const auto variance = c.context.template zeros<float>(Shape<1>{b});
       return results(
           variational_bound(x0, mean, variance, c.context.template zeros<std::uint8_t>(Shape<1>{b}), mean, x(c, b)));
     }},
    {{"embedding"},
     {"embedding_backward"},
     [](auto& c, Index b) {
       return results(embedding(square(c, 1), c.context.template full<std::int64_t>(Shape<2>{b, 5}, 8)));
     },
     Kind::movement},
    {{"fourier_features"},
     {"fourier_features_backward"},
     [](auto& c, Index b) { return results(fourier_features(x(c, b), c.template in<1>(Shape<1>{4}, 2))); }},
};

TEST(AllOps, Losses) { examples.check(); }

const OpExamples tables{{{"sinusoid"}, {}, [](auto& c, Index b) {
                           return results(sinusoid(c.context.template zeros<float>(Shape<1>{b}), {.width = 8}));
                         }}};
TEST(AllOps, Tables) { tables.check(); }

}  // namespace
