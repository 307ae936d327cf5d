// The whole SD3: loaded, run, differentiated, updated and saved.
#include "aulos/aulos.hpp"
#include "aulos/models/sd3.hpp"

void train_step(aulos::Context& context, const char* path, const aulos::Tensor<float, 4>& latent,
                const aulos::Tensor<float, 3>& prompt, const aulos::Tensor<float, 2>& pooled,
                const aulos::Tensor<float, 1>& timestep, const aulos::Tensor<float, 4>& target) {
  auto model = aulos::models::SD3<float>::load(path);
  aulos::train::AdamW<float> optimizer;
  aulos::GradTape tape(context);
  tape.backward(aulos::mse_loss(model(context, latent, prompt, pooled, timestep), target));
  optimizer.step(model, tape, 1e-4);
  model.save(path);
}
