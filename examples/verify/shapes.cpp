// shapes: the text-to-image model of the examples, from the weights in this repository.
#include <filesystem>

#include "common/shapes_model.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

// The case names its weights from the repository's root: some folder above the case's file.
aulos_examples::ShapesModel model_of(Case& c) {
  namespace fs = std::filesystem;
  const std::string weights = c.config().get<std::string>("weights");
  fs::path folder = fs::absolute(c.checkpoint().path()).parent_path();
  while (!fs::exists(folder / weights) && folder != folder.root_path()) folder = folder.parent_path();
  auto model = aulos_examples::ShapesModel::read(io::Checkpoint::open((folder / weights).string()));
  nn::pack(model, c.context().numeric());
  return model;
}

void forward(Case& c) {
  const aulos_examples::ShapesModel model = model_of(c);
  const Tensor<std::int64_t, 2> ids = c.indices<2>("input_ids");
  const Tensor<float, 3> states = model.text_encoder(ids);
  const Tensor<float, 2> pooled = dense(states.select(1, 0));
  c.output("encoder_hidden_states", states);
  c.output("pooled_projections", pooled);
  c.output("sample",
           model.transformer(c.context(), c.input<4>("hidden_states"), states, pooled, c.input<1>("timestep")));
}

void sample(Case& c) {
  const aulos_examples::ShapesModel model = model_of(c);
  aulos_examples::DrawOptions options;
  options.steps = c.config().get<Index>("steps");
  options.guidance = c.config().get<double>("guidance");
  const auto prompt = aulos_examples::parse_prompt(c.config().get<std::string>("prompt"));
  c.output("image", model.sample(c.context(), prompt, c.input<4>("noise"), options));
}

}  // namespace

void add_shapes(Registry& registry) {
  registry.add("shapes.forward", forward);
  registry.add("shapes.sample", sample);
}

}  // namespace verify
