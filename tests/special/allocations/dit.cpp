#include "tests/models/dit_support.hpp"
#include "tests/special/allocations/families.hpp"

namespace aulos_tests {

bool quiet_dit() {
  bool right = true;
  for (const aulos::models::DiTConditioning conditioning : every_conditioning) {
    for (const aulos::Index side : {8, 32}) {
      DiTConfig config = small_dit(conditioning);
      config.input_size = side;
      const DiT model = random_dit(config);
      const auto run = [&](aulos::Context& context, aulos::Index batch) {
        DiTInputs(context, config, batch).run(context, model);
      };
      right = quiet_forward("dit", {1, 3}, run) && right;
    }
  }
  const DiT model = random_dit(small_dit());
  const auto guided = [&](aulos::Context& context, aulos::Index batch) {
    const DiTInputs in(context, model.config, 2 * batch);
    model.forward_with_cfg(context, in.latent, in.timestep, in.labels, 4.0);
  };
  return quiet_forward("dit guided", {2}, guided) && right;
}

}  // namespace aulos_tests
