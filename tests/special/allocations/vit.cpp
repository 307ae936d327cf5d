#include "aulos/models/vit.hpp"

#include "tests/special/allocations/families.hpp"

namespace aulos_tests {

bool quiet_vit() {
  using Config = aulos::models::ViTConfig;
  const Config small{.img_size = 24, .patch_size = 8, .num_classes = 5, .embed_dim = 24, .depth = 2, .num_heads = 3};
  Config large = small, pooled = small;
  large.img_size = 128;
  pooled.global_pool = aulos::models::GlobalPool::avg;
  bool right = true;
  for (const Config& config : {small, large, pooled, Config::deit_distilled(small), Config::deit3(small)}) {
    const auto model = random_model<aulos::models::ViT<float>>(config);
    const auto run = [&](aulos::Context& context, aulos::Index batch) {
      model(context, context.normal<float>(aulos::Shape<4>{batch, 3, config.img_size, config.img_size}));
    };
    right = quiet_forward("vit", {1, 3}, run) && right;
  }
  return right;
}

}  // namespace aulos_tests
