#include "shapes_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "aulos/diffusion/flow_samplers.hpp"
#include "aulos/diffusion/flow_schedule.hpp"
#include "aulos/diffusion/guidance.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/models/config_fields.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/matmul.hpp"
#include "aulos/ops/reduce.hpp"
#include "aulos/ops/softmax.hpp"

namespace aulos_examples {

using aulos::Index;
using aulos::Tensor;

namespace {

const aulos::io::json::Value& section(const aulos::io::json::Value& json, const char* name) {
  if (const auto* value = json.find(name)) return *value;
  throw aulos::ConfigError(std::string("the config of a shapes model: no `") + name + "`");
}

TextEncoderConfig checked(const TextEncoderConfig& c) {
  TextEncoderConfig::fields(c, aulos::models::FieldChecker("text encoder"));
  if (c.hidden_size % c.num_attention_heads != 0)
    throw aulos::ConfigError("text encoder: num_attention_heads " + std::to_string(c.num_attention_heads) +
                             " does not divide hidden_size " + std::to_string(c.hidden_size));
  return c;
}

}  // namespace

ShapesConfig ShapesConfig::from_json(const aulos::io::json::Value& json) {
  ShapesConfig c;
  c.transformer = aulos::models::SD3Config::from_json(section(json, "transformer"));
  TextEncoderConfig::fields(c.text_encoder, aulos::models::FieldReader("text encoder", section(json, "text_encoder")));
  c.shift = section(json, "scheduler").get_or<double>("shift", c.shift);
  c.steps = json.get_or<Index>("steps", c.steps);
  c.guidance = json.get_or<double>("guidance", c.guidance);
  return c;
}

std::string ShapesConfig::to_json() const {
  aulos::io::json::Writer json;
  json.begin_object().key("text_encoder").begin_object();
  TextEncoderConfig::fields(text_encoder, aulos::models::FieldWriter(json));
  json.key("hidden_act").value("gelu_tanh").end_object();
  json.key("scheduler").begin_object().key("shift").value(shift).key("sigmas").value("linspace_1_to_1_over_n");
  json.end_object().key("steps").value(steps).key("guidance").value(guidance).end_object();
  std::string text = json.take();
  return text.insert(1, "\"transformer\":" + transformer.to_json() + ",");
}

TextEncoder::TextEncoder(const TextEncoderConfig& config) {
  const TextEncoderConfig c = checked(config);
  token_embedding = aulos::Parameter<float, 2>(aulos::Shape<2>{c.vocab_size, c.hidden_size});
  position_embedding = aulos::Parameter<float, 2>(aulos::Shape<2>{c.max_position_embeddings, c.hidden_size});
  final_norm = aulos::nn::LayerNorm<float>(c.hidden_size, c.layer_norm_eps);
  Layer layer;
  auto& side = layer.block.sides[0];
  side.norm1 = side.norm2 = final_norm;
  side.qkv = {c.hidden_size, c.hidden_size, {c.num_attention_heads, c.hidden_size / c.num_attention_heads}};
  side.to_out = aulos::nn::Linear<float>(c.hidden_size, c.hidden_size);
  side.ff = aulos::nn::Mlp<float>(c.hidden_size, c.intermediate_size);
  layers.assign(static_cast<std::size_t>(c.num_hidden_layers), layer);
}

Tensor<float, 3> TextEncoder::operator()(const Tensor<std::int64_t, 2>& ids) const {
  const Tensor<float, 2> positions = position_embedding.tensor().slice(0, 0, ids.extent(1));
  Tensor<float, 3> x = aulos::add(aulos::embedding<float>(token_embedding, ids), positions.unsqueeze(0));
  for (const Layer& layer : layers) x = std::move(layer.block({std::move(x)}, {})[0]);
  return final_norm(x);
}

ShapesModel::ShapesModel(const ShapesConfig& config, Vocabulary vocabulary)
    : text_encoder(config.text_encoder),
      transformer(config.transformer),
      config_(config),
      vocabulary_(std::move(vocabulary)) {}

ShapesModel ShapesModel::read(const aulos::io::Checkpoint& file) {
  const auto metadata = [&](const char* key) {
    const std::string* found = file.metadata().find(key);
    if (found == nullptr)
      throw aulos::CheckpointError(file.path() + ": no `" + key + "` in the metadata; is this a shapes model?");
    return aulos::io::json::parse(*found);
  };
  const auto config = metadata("config"), vocabulary = metadata("vocabulary");
  try {
    std::vector<std::string> words;
    for (const auto& word : vocabulary.items()) words.push_back(word.as<std::string>("vocabulary"));
    ShapesModel model(ShapesConfig::from_json(config), Vocabulary(std::move(words)));
    aulos::nn::load_parameters(model.text_encoder, file, {.prefix = "text_encoder."});
    aulos::nn::load_parameters(model.transformer, file, {.prefix = "transformer."});
    model.transformer.derive_buffers();
    return model;
  } catch (const aulos::ConfigError& error) {
    throw aulos::ConfigError(file.path() + ": " + error.what());
  }
}

ShapesModel ShapesModel::load(const std::string& path) {
  ShapesModel model = read(aulos::io::Checkpoint::open(path));
  aulos::nn::pack(model);
  return model;
}

aulos::io::Metadata ShapesModel::metadata() const {
  aulos::io::json::Writer words;
  words.begin_array();
  for (const std::string& word : vocabulary_.words()) words.value(word);
  words.end_array();
  return {{"format", "pt"}, {"config", config_.to_json()}, {"vocabulary", words.take()}};
}

void ShapesModel::save(const std::string& path, aulos::Dtype dtype) const {
  aulos::nn::save_parameters(*this, path, dtype, metadata());
}

void ShapesModel::initialise(aulos::Random& random) {
  const auto fill = [](const auto& p, float value) { std::fill_n(p.data(), p.count(), value); };
  aulos::nn::for_each_parameter(*this, [&](const auto& p) {
    if (p.role != aulos::nn::Role::parameter) return;
    const std::string name = p.name;
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    if (p.shape.size() < 2) {
      fill(p, name.ends_with("weight") ? 1.0f : 0.0f);  // norms; biases
    } else if (has(".linear.weight") || has("proj_out.weight")) {
      fill(p, 0);
    } else if (has("_embedding.weight")) {
      random.normal(p.data(), p.count(), 0, 0.02f);
    } else {
      const double columns = static_cast<double>(p.count()) / static_cast<double>(p.shape[0]);
      const auto bound = static_cast<float>(std::sqrt(6 / (columns + static_cast<double>(p.shape[0]))));
      random.uniform(p.data(), p.count(), -bound, bound);
    }
  });
  transformer.derive_buffers();
}

Tensor<float, 4> ShapesModel::velocity(aulos::Context& context, const Tensor<float, 4>& x,
                                       const Tensor<std::int64_t, 2>& ids, const Tensor<float, 1>& time) const {
  const Tensor<float, 3> states = text_encoder(ids);
  return transformer(context, x, states, aulos::dense(states.select(1, 0)), aulos::scale(time, 1000.0f));
}

Tensor<std::int64_t, 2> ShapesModel::tokens(aulos::Context& context,
                                            const std::vector<std::vector<std::string>>& prompts) const {
  const Index length = config_.text_encoder.max_position_embeddings;
  auto ids = context.empty<std::int64_t>(aulos::Shape<2>{static_cast<Index>(prompts.size()), length});
  std::int64_t* out = ids.mutable_data();
  for (const auto& words : prompts)
    for (const std::int64_t id : vocabulary_.encode(words, static_cast<std::size_t>(length))) *out++ = id;
  return ids;
}

Tensor<float, 4> ShapesModel::sample(aulos::Context& context, const Prompt& prompt, const Tensor<float, 4>& noise,
                                     const DrawOptions& options) const {
  aulos::diffusion::FlowScheduleOptions levels{.steps = options.steps > 0 ? options.steps : config_.steps};
  levels.base = aulos::diffusion::BaseSigmas::one_over_n;
  levels.shift = config_.shift;
  const auto schedule = aulos::diffusion::flow_schedule(levels);
  const double guidance = options.guidance > 0 ? options.guidance : config_.guidance;

  // Two rows: without the prompt and with it.
  const Tensor<float, 3> states = text_encoder(tokens(context, {{}, prompt.words}));
  const Tensor<float, 2> pooled = aulos::dense(states.select(1, 0));
  const auto velocity = [&](const Tensor<float, 4>& x, Index step) {
    const auto time = static_cast<float>(schedule.timesteps[static_cast<std::size_t>(step)]);
    const Tensor<float, 4> twice = aulos::concat(std::array{x, x}, 0);
    const Tensor<float, 4> v =
        transformer(context, twice, states, pooled, context.full<float>(aulos::Shape<1>{2}, time));
    const auto guided = aulos::diffusion::classifier_free_guidance(v.slice(0, 0, 1), v.slice(0, 1, 2), guidance);
    if (options.on_step) options.on_step(step + 1);
    return guided;
  };
  return options.sampler == Sampler::euler ? aulos::diffusion::flow_euler(schedule, noise, velocity)
                                           : aulos::diffusion::flow_dpmpp_2m(schedule, noise, velocity);
}

std::vector<float> ShapesModel::draw(aulos::Context& context, const Prompt& prompt, const DrawOptions& options) const {
  const aulos::Shape<4> shape{1, transformer.config.in_channels, side(), side()};
  auto noise = context.empty<float>(shape);
  aulos::Random(options.seed).normal(noise.mutable_data(), noise.count());
  const Tensor<float, 4> x = sample(context, prompt, noise, options);
  return std::vector<float>(x.data(), x.data() + x.count());
}

std::vector<AttentionMap> ShapesModel::attention_maps(aulos::Context& context, const Prompt& prompt,
                                                      const std::vector<float>& picture, std::uint64_t seed) const {
  const aulos::Shape<4> shape{1, transformer.config.in_channels, side(), side()};
  const Tensor<float, 4> x0 = context.from<float>(shape, picture.data());
  auto noise = context.empty<float>(shape);
  aulos::Random(seed).normal(noise.mutable_data(), noise.count());
  const Tensor<float, 3> states = text_encoder(tokens(context, {prompt.words}));
  const Tensor<float, 2> pooled = aulos::dense(states.select(1, 0));

  const Index image_tokens = grid_side() * grid_side();
  std::vector<AttentionMap> maps;
  for (const std::string& word : prompt.words)
    maps.push_back({word, std::vector<float>(static_cast<std::size_t>(image_tokens), 0.0f)});
  for (const double sigma : {0.9, 0.7, 0.5}) {
    const auto s = static_cast<float>(sigma);
    const Tensor<float, 4> x = aulos::linear_combination(std::array{x0, noise}, {1.0f - s, s});
    context.start_capture("scaled_dot_product_attention:");
    transformer(context, x, states, pooled, context.full<float>(aulos::Shape<1>{1}, 1000.0f * s));
    // Of each block: q, k, v of the image, then (q,) k, v of the text.
    std::vector<Tensor<float, 4>> queries, keys;
    for (const auto& captured : context.stop_capture<float>()) {
      const bool of_image = captured.value.extent(1) == image_tokens;
      if (captured.name.ends_with(":q") && of_image) queries.emplace_back(captured.value);
      if (captured.name.ends_with(":k")) keys.emplace_back(captured.value);
    }
    for (std::size_t block = 0; block < queries.size(); ++block) {
      const auto heads_first = [](const Tensor<float, 4>& t) { return t.permute_leading({0, 2, 1, 3}); };
      const Tensor<float, 4> q = heads_first(queries[block]);
      const Tensor<float, 4> k =
          aulos::concat(std::array{heads_first(keys[2 * block]), heads_first(keys[2 * block + 1])}, 2);
      const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(q.extent(3))));
      const Tensor<float, 4> weights = aulos::softmax(aulos::scale(aulos::matmul(q, k, aulos::Transpose::b), scale));
      for (Index head = 0; head < weights.extent(1); ++head)
        for (Index i = 0; i < image_tokens; ++i)
          for (std::size_t word = 0; word < maps.size(); ++word)  // token 0 is <bos>
            maps[word].weights[static_cast<std::size_t>(i)] +=
                weights(0, head, i, image_tokens + 1 + static_cast<Index>(word));
    }
  }
  return maps;
}

}  // namespace aulos_examples
