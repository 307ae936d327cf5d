// The text-to-image model of the examples: a small text encoder and an SD3 transformer over 64x64 RGB pictures.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "aulos/attention/multi_head_attention.hpp"
#include "aulos/models/sd3.hpp"
#include "aulos/nn/feed_forward.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/ops/embedding.hpp"
#include "picture.hpp"
#include "prompt.hpp"

namespace aulos_examples {

struct TextEncoderConfig {
  aulos::Index vocab_size = 0, max_position_embeddings = 0, hidden_size = 0, num_hidden_layers = 0;
  aulos::Index num_attention_heads = 0, intermediate_size = 0;
  double layer_norm_eps = 1e-5;

  static TextEncoderConfig from_json(const aulos::io::json::Value& json);
};

// A pre-norm transformer encoder over words: ids [B, M] -> states [B, M, E]; the first state is the pooled vector.
struct TextEncoder {
  struct Layer {
    aulos::nn::LayerNorm<float> norm1, norm2;
    aulos::attention::MultiHeadAttention<float> attn;
    aulos::nn::Mlp<float> ff;

    aulos::Tensor<float, 3> operator()(aulos::Tensor<float, 3> x) const;
    void visit(auto&& v) {
      v("norm1", norm1);
      v("attn", attn.projection);
      v("attn.to_out.0", attn.to_out);
      v("norm2", norm2);
      v("ff.net.0.proj", ff.fc1);
      v("ff.net.2", ff.fc2);
    }
  };

  aulos::Parameter<float, 2> token_embedding, position_embedding;
  std::vector<Layer> layers;
  aulos::nn::LayerNorm<float> final_norm;

  TextEncoder() = default;
  explicit TextEncoder(const TextEncoderConfig& config);

  aulos::Tensor<float, 3> operator()(const aulos::Tensor<std::int64_t, 2>& ids) const;
  void visit(auto&& v) {
    v("token_embedding.weight", token_embedding);
    v("position_embedding.weight", position_embedding);
    v("layers", layers);
    v("final_norm", final_norm);
  }
};

enum class Sampler { euler, dpmpp_2m };

// How a picture is drawn. Steps and guidance 0 stand for the checkpoint's own.
struct DrawOptions {
  aulos::Index steps = 0;
  double guidance = 0;
  Sampler sampler = Sampler::euler;
  std::uint64_t seed = 0;
  std::function<void(aulos::Index step)> on_step = {};  // after each step, from 1
};

class ShapesModel {
 public:
  // Throws aulos::Error naming the file where it is no checkpoint of this model.
  static ShapesModel load(const std::string& path);

  aulos::Index side() const { return transformer.config.sample_size; }
  aulos::Index default_steps() const { return steps_; }

  // The picture [3, side, side] in about [-1, 1], row-major. The same options give the same bits.
  std::vector<float> draw(aulos::Context& context, const Prompt& prompt, const DrawOptions& options) const;
  // The same from a given noise [1, 3, side, side].
  aulos::Tensor<float, 4> sample(aulos::Context& context, const Prompt& prompt, const aulos::Tensor<float, 4>& noise,
                                 const DrawOptions& options) const;

  // For each word, where the image tokens look when they draw it: the share of attention that each token of the grid
  // gives to the word, averaged over blocks, heads and three levels of noise on the way to `picture`.
  std::vector<AttentionMap> attention_maps(aulos::Context& context, const Prompt& prompt,
                                           const std::vector<float>& picture, std::uint64_t seed) const;
  aulos::Index grid_side() const { return transformer.config.sample_size / transformer.config.patch_size; }

  // Token ids of the prompts, a row each; no words: the null prompt of guidance.
  aulos::Tensor<std::int64_t, 2> tokens(aulos::Context& context,
                                        const std::vector<std::vector<std::string>>& prompts) const;

  TextEncoder text_encoder;
  aulos::models::SD3<float> transformer;

 private:
  explicit ShapesModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  Vocabulary vocabulary_;
  aulos::Index max_tokens_ = 0;
  aulos::Index steps_ = 30;
  double guidance_ = 1;
  double shift_ = 1;
};

}  // namespace aulos_examples
