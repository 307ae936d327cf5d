#include "shapes_model.hpp"

#include <array>
#include <cmath>
#include <utility>

#include "aulos/diffusion/flow_samplers.hpp"
#include "aulos/diffusion/flow_schedule.hpp"
#include "aulos/diffusion/guidance.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/ops/matmul.hpp"
#include "aulos/ops/reduce.hpp"
#include "aulos/ops/softmax.hpp"

namespace aulos_examples {

using aulos::Index;
using aulos::Tensor;

TextEncoderConfig TextEncoderConfig::from_json(const aulos::io::json::Value& json) {
  TextEncoderConfig c;
  c.vocab_size = json.get<Index>("vocab_size");
  c.max_position_embeddings = json.get<Index>("max_position_embeddings");
  c.hidden_size = json.get<Index>("hidden_size");
  c.num_hidden_layers = json.get<Index>("num_hidden_layers");
  c.num_attention_heads = json.get<Index>("num_attention_heads");
  c.intermediate_size = json.get<Index>("intermediate_size");
  c.layer_norm_eps = json.get_or<double>("layer_norm_eps", c.layer_norm_eps);
  if (c.num_attention_heads < 1 || c.hidden_size % c.num_attention_heads != 0)
    throw aulos::ConfigError("text encoder: num_attention_heads " + std::to_string(c.num_attention_heads) +
                             " does not divide hidden_size " + std::to_string(c.hidden_size));
  return c;
}

TextEncoder::TextEncoder(const TextEncoderConfig& c)
    : token_embedding(aulos::Shape<2>{c.vocab_size, c.hidden_size}),
      position_embedding(aulos::Shape<2>{c.max_position_embeddings, c.hidden_size}),
      final_norm(c.hidden_size, c.layer_norm_eps) {
  const aulos::attention::HeadShape heads{c.num_attention_heads, c.hidden_size / c.num_attention_heads};
  Layer layer;
  layer.norm1 = layer.norm2 = aulos::nn::LayerNorm<float>(c.hidden_size, c.layer_norm_eps);
  layer.attn.projection = aulos::attention::SeparateQkv<float>(c.hidden_size, c.hidden_size, heads);
  layer.attn.to_out = aulos::nn::Linear<float>(c.hidden_size, c.hidden_size);
  layer.ff = aulos::nn::Mlp<float>(c.hidden_size, c.intermediate_size);
  layers.assign(static_cast<std::size_t>(c.num_hidden_layers), layer);
}

Tensor<float, 3> TextEncoder::Layer::operator()(Tensor<float, 3> x) const {
  const Tensor<float, 3> h = norm1(x);
  x = attn.add_to(h, {}, std::move(x));
  const Tensor<float, 3> g = norm2(x);
  return ff.add_to(g, {}, std::move(x));
}

Tensor<float, 3> TextEncoder::operator()(const Tensor<std::int64_t, 2>& ids) const {
  const Tensor<float, 2> positions = position_embedding.tensor().slice(0, 0, ids.extent(1));
  Tensor<float, 3> x = aulos::add(aulos::embedding<float>(token_embedding, ids), positions.unsqueeze(0));
  for (const Layer& layer : layers) x = layer(std::move(x));
  return final_norm(x);
}

ShapesModel ShapesModel::load(const std::string& path) {
  const aulos::io::Checkpoint file = aulos::io::Checkpoint::open(path);
  const auto metadata = [&](const char* key) -> const std::string& {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end())
      throw aulos::CheckpointError(path + ": no `" + key + "` in the metadata; is this a shapes model?");
    return found->second;
  };
  const auto config = aulos::io::json::parse(metadata("config"));
  const auto section = [&](const char* name) -> const aulos::io::json::Value& {
    const auto* value = config.find(name);
    if (value == nullptr) throw aulos::ConfigError(path + ": the config has no `" + name + "`");
    return *value;
  };
  const auto vocabulary = aulos::io::json::parse(metadata("vocabulary"));
  std::vector<std::string> words;
  for (const auto& word : vocabulary.items()) words.push_back(word.as<std::string>("vocabulary"));

  ShapesModel model{Vocabulary(std::move(words))};
  const TextEncoderConfig text = TextEncoderConfig::from_json(section("text_encoder"));
  model.text_encoder = TextEncoder(text);
  model.max_tokens_ = text.max_position_embeddings;
  model.transformer = aulos::models::SD3<float>(aulos::models::SD3Config::from_json(section("transformer")));
  aulos::nn::load_parameters(model.text_encoder, file, {.prefix = "text_encoder."});
  aulos::nn::load_parameters(model.transformer, file, {.prefix = "transformer."});
  model.transformer.derive_buffers();
  aulos::nn::pack(model.text_encoder);
  aulos::nn::pack(model.transformer);
  model.shift_ = section("scheduler").get_or<double>("shift", 1.0);
  model.steps_ = config.get_or<Index>("steps", model.steps_);
  model.guidance_ = config.get_or<double>("guidance", model.guidance_);
  return model;
}

Tensor<std::int64_t, 2> ShapesModel::tokens(aulos::Context& context,
                                            const std::vector<std::vector<std::string>>& prompts) const {
  auto ids = context.empty<std::int64_t>(aulos::Shape<2>{static_cast<Index>(prompts.size()), max_tokens_});
  std::int64_t* out = ids.mutable_data();
  for (const auto& words : prompts)
    for (const std::int64_t id : vocabulary_.encode(words, static_cast<std::size_t>(max_tokens_))) *out++ = id;
  return ids;
}

Tensor<float, 4> ShapesModel::sample(aulos::Context& context, const Prompt& prompt, const Tensor<float, 4>& noise,
                                     const DrawOptions& options) const {
  aulos::diffusion::FlowScheduleOptions levels{.steps = options.steps > 0 ? options.steps : steps_};
  levels.base = aulos::diffusion::BaseSigmas::one_over_n;
  levels.shift = shift_;
  const auto schedule = aulos::diffusion::flow_schedule(levels);
  const double guidance = options.guidance > 0 ? options.guidance : guidance_;

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
