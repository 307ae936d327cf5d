// The text-to-image model of the examples: a small text encoder and an SD3 transformer over 64x64 RGB pictures.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "aulos/models/sd3.hpp"
#include "aulos/nn/norm.hpp"
#include "aulos/ops/embedding.hpp"
#include "aulos/stream/stream_block.hpp"
#include "picture.hpp"
#include "prompt.hpp"

namespace aulos_examples {

struct TextEncoderConfig {
  aulos::Index vocab_size = 0, max_position_embeddings = 16, hidden_size = 96, num_hidden_layers = 2;
  aulos::Index num_attention_heads = 3, intermediate_size = 384;
  double layer_norm_eps = 1e-5;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f("vocab_size", c.vocab_size);
    f("max_position_embeddings", c.max_position_embeddings);
    f("hidden_size", c.hidden_size);
    f("num_hidden_layers", c.num_hidden_layers);
    f("num_attention_heads", c.num_attention_heads);
    f("intermediate_size", c.intermediate_size);
    f("layer_norm_eps", c.layer_norm_eps);
  }
};

// The sizes of the model, and how it draws where nobody says otherwise: `config` of a checkpoint's metadata.
struct ShapesConfig {
  aulos::models::SD3Config transformer;
  TextEncoderConfig text_encoder;
  double shift = 1;
  aulos::Index steps = 30;
  double guidance = 1;

  static ShapesConfig from_json(const aulos::io::json::Value& json);
  std::string to_json() const;
  // Blocks of a model, each of which has tensors of its own.
  double blocks() const noexcept {
    return static_cast<double>(transformer.num_layers) + static_cast<double>(text_encoder.num_hidden_layers);
  }
};

// A pre-norm transformer encoder over words: ids [B, M] -> states [B, M, E]; the first state is the pooled vector.
struct TextEncoder {
  struct Layer {
    aulos::stream::StreamBlock<float, 1> block;

    void visit(auto&& v) {
      auto& side = block.sides[0];
      v("norm1", side.norm1);
      v("attn", side.qkv);
      v("attn.to_out.0", side.to_out);
      v("norm2", side.norm2);
      v("ff.net.0.proj", side.ff.fc1);
      v("ff.net.2", side.ff.fc2);
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
  // Without values; initialise() gives it random ones.
  explicit ShapesModel(const ShapesConfig& config, Vocabulary vocabulary = Vocabulary::of_the_language());

  // Packed for drawing. Throws aulos::Error naming the file where it is no checkpoint of this model.
  static ShapesModel load(const std::string& path);
  // The same as it stands in the file, to be trained.
  static ShapesModel read(const aulos::io::Checkpoint& file);
  void save(const std::string& path, aulos::Dtype dtype) const;
  // What save() writes beside the tensors.
  aulos::io::Metadata metadata() const;

  // Projections Xavier, embeddings N(0, 0.02), every modulation and the output zero (adaLN-Zero).
  void initialise(aulos::Random& random);

  aulos::Index side() const { return transformer.config.sample_size; }
  aulos::Index default_steps() const { return config_.steps; }

  // What the flow's velocity noise - x0 is taken for at x [B, 3, side, side]; ids [B, M] as tokens() gives them, time
  // [B] in (0, 1].
  aulos::Tensor<float, 4> velocity(aulos::Context& context, const aulos::Tensor<float, 4>& x,
                                   const aulos::Tensor<std::int64_t, 2>& ids,
                                   const aulos::Tensor<float, 1>& time) const;

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

  void visit(auto&& v) {
    v("text_encoder", text_encoder);
    v("transformer", transformer);
  }

 private:
  ShapesConfig config_;
  Vocabulary vocabulary_;
};

}  // namespace aulos_examples
