// SepFormer and DPRNN: one waveform in, one for each speaker out. Subakan et al., "Attention Is All You Need in Speech
// Separation", 2021; Luo, Chen, Yoshioka, "Dual-Path RNN", 2020; parameter names are SpeechBrain's.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/models/checkpoint_shapes.hpp"
#include "aulos/models/sepformer_checkpoint.hpp"
#include "aulos/models/sepformer_config.hpp"
#include "aulos/models/sepformer_paths.hpp"
#include "aulos/nn/load.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/matmul.hpp"
#include "aulos/ops/prelu.hpp"
#include "aulos/path/dual_path_block.hpp"
#include "aulos/path/segmentation.hpp"

namespace aulos::inline AULOS_ISA::models {

// A convolution with a kernel of 1 is a linear on tokens; `shape` is what a checkpoint gives its weight.
template <Real T, int Rank>
nn::Linear<T> pointwise(const Shape<Rank>& shape, nn::Bias bias) {
  nn::Linear<T> layer(shape[1], shape[0], bias);
  layer.weight = Weight<T>(shape);
  return layer;
}

// A path and, where its width is not that of the grid or the model wants one, a linear behind it.
template <Real T, class Path>
struct PathAndLinear {
  using value_type = T;

  Path mdl;
  nn::Linear<T> linear;  // or absent

  Tensor<T, 3> operator()(const Tensor<T, 3>& x) const { return linear.empty() ? mdl(x) : linear(mdl(x)); }
};

// Tokens [B, L, N] -> a mask for each speaker [B, L, speakers, N]. Dual_Path_Model.
template <Real T, class Path>
struct MaskNet {
  using value_type = T;
  using Config = MaskNetConfig<typename Path::Config>;
  using Block = path::DualPathBlock<T, PathAndLinear<T, Path>, PathAndLinear<T, Path>, SeparatorNormLayer<T>>;

  SeparatorNormLayer<T> norm;
  nn::Linear<T> conv1d, conv2d, output, output_gate, end_conv1x1;
  std::vector<Block> dual_mdl;
  Parameter<T, 1> prelu_weight;  // [1]
  Index chunk = 1, speakers = 1;

  MaskNet() = default;
  explicit MaskNet(const Config& c)
      : norm(c.norm, c.in_channels, 3),
        conv1d(pointwise<T>(Shape<3>{c.channels, c.in_channels, 1}, nn::Bias::no)),
        conv2d(pointwise<T>(Shape<4>{c.channels * c.speakers, c.channels, 1, 1}, nn::Bias::yes)),
        output(pointwise<T>(Shape<3>{c.channels, c.channels, 1}, nn::Bias::yes)),
        output_gate(output),
        end_conv1x1(pointwise<T>(Shape<3>{c.in_channels, c.channels, 1}, nn::Bias::no)),
        prelu_weight(Shape<1>{1}),
        chunk(c.chunk),
        speakers(c.speakers) {
    const auto path_of = [&](const typename Path::Config& of) {
      PathAndLinear<T, Path> made{Path(c.channels, of), {}};
      if (c.linear_after_paths) made.linear = nn::Linear<T>(Path::width(c.channels, of), c.channels);
      return made;
    };
    Block block;
    block.inner = path_of(c.intra);
    block.outer = path_of(c.inter);
    block.inner_norm = block.outer_norm = SeparatorNormLayer<T>(c.norm, c.channels, 4);
    block.inner_skip = c.skip_around_intra ? path::Skip::yes : path::Skip::no;
    dual_mdl.assign(static_cast<std::size_t>(c.blocks), block);
  }

  Tensor<T, 4> operator()(const Tensor<T, 3>& w) const {
    const Tensor<T, 3> tokens = conv1d(norm(w));
    const Tensor<T, 3> mixed = path::segmented(tokens, path::half_overlapping(w.extent(1), chunk), [&](auto x) {
      for (std::size_t i = 0; i < dual_mdl.size(); ++i) {
        const Scope scope(x.any().context()->scopes(), "dual_mdl", static_cast<Index>(i));
        x = dual_mdl[i](x);
      }
      return conv2d(prelu(std::move(x), prelu_weight));
    });
    const Tensor<T, 4> y = mixed.split_last(speakers);  // what follows is the same for every speaker
    return end_conv1x1(multiply(output(y, Activation::tanh), output_gate(y, Activation::sigmoid)), Activation::relu);
  }

  void derive_buffers() {
    for (Block& block : dual_mdl) {
      block.inner.mdl.derive_buffers();
      block.outer.mdl.derive_buffers();
    }
  }

  void visit(auto&& v) {
    v("norm", norm);
    v("conv1d", conv1d);
    for (std::size_t i = 0; i < dual_mdl.size(); ++i) {
      Block& block = dual_mdl[i];
      const std::string of = "dual_mdl." + std::to_string(i) + ".";
      const auto named = [&](const char* name, auto& member) { v(of + name, member); };
      named("intra_mdl", block.inner.mdl);
      named("inter_mdl", block.outer.mdl);
      named("intra_norm", block.inner_norm);
      named("inter_norm", block.outer_norm);
      named("intra_linear.w", block.inner.linear);
      named("inter_linear.w", block.outer.linear);
    }
    v("conv2d", conv2d);
    v("end_conv1x1", end_conv1x1);
    v("prelu.weight", prelu_weight);
    v("output.0", output);
    v("output_gate.0", output_gate);
  }
};

// Waveforms [B, T] -> one for each speaker, [B, T, speakers]. T is at least the encoder's kernel. SepformerWrapper.
template <Real T, class Path, class ConfigType>
struct Separator {
  using value_type = T;
  using Config = ConfigType;

  Config config;
  Weight<T> encoder;  // [N, 1, kernel]
  MaskNet<T, Path> masknet;
  Parameter<T, 3> decoder;  // [N, 1, kernel]: a transposed convolution

  Separator() = default;
  explicit Separator(const Config& of)
      : config(of.checked()),
        encoder(Shape<3>{of.masknet().in_channels, 1, of.kernel()}),
        masknet(of.masknet()),
        decoder(Shape<3>{of.masknet().in_channels, 1, of.kernel()}) {}

  // From one checkpoint of the whole. The configuration comes from the options, the file's metadata, or the shapes.
  static Separator load(const std::string& path, const ModelLoadOptions<Config>& options = {}) {
    return load(io::Checkpoint::open(path, {.mode = options.mode}), options);
  }
  static Separator load(const io::Checkpoint& checkpoint, const ModelLoadOptions<Config>& options = {}) {
    const SeparatorShapes of(Config::name, checkpoint, options.prefix);
    Separator model(options.config ? *options.config : separator_config<Config>(of));
    nn::load_parameters(model, checkpoint, options.of_parameters());
    model.derive_buffers();
    return model;
  }
  // From the three files in which SpeechBrain publishes a model.
  static Separator load(const io::Checkpoint& encoder, const io::Checkpoint& masknet, const io::Checkpoint& decoder,
                        const ModelLoadOptions<Config>& options = {}) {
    const SeparatorShapes of(Config::name, encoder, masknet);
    Separator model(options.config ? *options.config : separator_config<Config>(of));
    const io::LoadOptions exact = options.of_parameters({});
    const auto read = [&](File file, const io::Checkpoint& from) {
      Part part{std::move(model), file};
      nn::load_parameters(part, from, exact);
      model = std::move(part.model);
    };
    read(File::encoder, encoder);
    read(File::masknet, masknet);
    read(File::decoder, decoder);
    model.derive_buffers();
    return model;
  }
  // As one file with SpeechBrain's names, and the configuration as `config` in the metadata.
  void save(const std::string& path, Dtype dtype = dtype_of<T>) const {
    nn::save_parameters(*this, path, dtype, {{"format", "pt"}, {"config", config.to_json()}});
  }

  // Computes the tables of positions that have no values yet.
  void derive_buffers() { masknet.derive_buffers(); }

  Tensor<T, 3> operator()(Context& context, Input<T, 2> mixture) const {
    const Tensor<T, 2> mix = std::move(mixture).in(context);
    const Index kernel = config.kernel();
    if (mix.extent(1) < kernel)
      throw ShapeError(std::string(Config::name) + ": mixture " + to_string(mix.shape()) + ", expected at least " +
                       std::to_string(kernel) + " samples");
    const ChunkTable table = path::frames(mix.extent(1), kernel, kernel / 2);
    const Tensor<T, 4> frames = segment(dense(mix).reshape(Shape<3>{mix.extent(0), mix.extent(1), 1}), table);
    const Tensor<T, 3> w =
        linear(frames.reshape(Shape<3>{mix.extent(0), table.chunks, kernel}), encoder, {}, Activation::relu);
    const Tensor<T, 4> masks = masknet(w);
    const Tensor<T, 4> masked = multiply(masks, w.unsqueeze(2));
    // The decoder's frames [B, L, speakers, kernel], added up with the speakers as channels.
    const Tensor<T, 2> rows = masked.reshape(Shape<2>{masked.any().rows(), w.extent(2)});
    const Tensor<T, 2> weight = decoder.tensor().reshape(Shape<2>{w.extent(2), kernel});
    const Tensor<T, 4> heard =
        matmul(rows, weight).reshape(Shape<4>{w.extent(0), w.extent(1), masks.extent(2), kernel});
    return overlap_add(permute(heard, Shape<4>{0, 1, 3, 2}), table);
  }

  void visit(auto&& v) {
    v("encoder.conv1d.weight", encoder);
    v("masknet", masknet);
    v("decoder.weight", decoder);
  }

 private:
  // What one of three files holds, under the names that it has there.
  enum class File { encoder, masknet, decoder };
  struct Part {
    Separator model;
    File file;

    void visit(auto&& v) {
      if (file == File::encoder) v("conv1d.weight", model.encoder);
      if (file == File::masknet) model.masknet.visit(v);
      if (file == File::decoder) v("weight", model.decoder);
    }
  };
};

template <Real T>
using SepFormer = Separator<T, TransformerPath<T>, SepFormerConfig>;
template <Real T, RecurrentCell cell = RecurrentCell::lstm>
using Dprnn = Separator<T, RecurrentPath<T, cell>, DprnnConfig>;

}  // namespace aulos::inline AULOS_ISA::models
