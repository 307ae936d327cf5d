// The configuration that a checkpoint of a separator tells. Chunk length, heads and the kind of norm leave no trace in
// shapes: they are known of the published models alone.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/models/checkpoint_shapes.hpp"
#include "aulos/models/sepformer_config.hpp"

namespace aulos::inline AULOS_ISA::models {

// Where encoder and mask network are: in one checkpoint, or in files of their own.
class SeparatorShapes {
 public:
  SeparatorShapes(const char* model, const io::Checkpoint& whole, const std::string& prefix)
      : SeparatorShapes(model, whole, prefix + "encoder.", whole, prefix + "masknet.") {}
  SeparatorShapes(const char* model, const io::Checkpoint& encoder, const io::Checkpoint& masknet)
      : SeparatorShapes(model, encoder, "", masknet, "") {}

  const io::Checkpoint& file() const noexcept { return masknet_file_; }
  const CheckpointShapes& encoder() const noexcept { return encoder_; }
  const CheckpointShapes& masknet() const noexcept { return masknet_; }

  // gln stores its weight with a trailing axis; ln and cln alike.
  SeparatorNorm norm(SeparatorNorm published, bool is_published) const {
    const io::TensorInfo* info = masknet_file_.find(prefix_ + "norm.weight");
    if (info != nullptr && info->shape.size() == 2) return SeparatorNorm::gln;
    if (!is_published) masknet_.open("the kind of norm", "ln and cln have the same shapes");
    return published;
  }

 private:
  SeparatorShapes(const char* model, const io::Checkpoint& encoder, const std::string& encoder_prefix,
                  const io::Checkpoint& masknet, const std::string& masknet_prefix)
      : masknet_file_(masknet),
        prefix_(masknet_prefix),
        encoder_(model, encoder, encoder_prefix),
        masknet_(model, masknet, masknet_prefix) {}

  const io::Checkpoint& masknet_file_;
  std::string prefix_;
  CheckpointShapes encoder_, masknet_;
};

namespace detail {

inline SepFormerConfig config_from_shapes(const SeparatorShapes& of, SepFormerConfig c) {
  const CheckpointShapes& net = of.masknet();
  const std::string block = "dual_mdl.0.";
  const Index width = of.encoder().extent("conv1d.weight", 0, "encoder_out_nchannels");
  c.encoder_kernel_size = of.encoder().extent("conv1d.weight", 2, "encoder_kernel_size");
  const bool published = width == c.encoder_out_nchannels && c.encoder_kernel_size == 16;
  if (!published) net.open("masknet_chunksize", "no shape depends on it");
  c.masknet_norm = of.norm(c.masknet_norm, published);
  c.masknet_numlayers = net.count("dual_mdl.", ".intra_mdl.mdl.norm.norm.weight");
  c.masknet_numspks = net.extent("conv2d.bias", 0, "masknet_numspks") / width;
  c.masknet_useextralinearlayer = net.has(block + "intra_linear.w.weight");
  const auto path = [&](TransformerPathConfig& to, const char* name, const char* field) {
    to.layers = net.count(block + name + ".mdl.layers.", ".norm1.norm.weight");
    to.hidden = net.extent(block + name + ".mdl.layers.0.pos_ffn.ffn.0.weight", 0, field);
  };
  path(c.intra, "intra_mdl", "intra_dffn");
  path(c.inter, "inter_mdl", "inter_dffn");
  return c;
}

inline DprnnConfig config_from_shapes(const SeparatorShapes& of, DprnnConfig c) {
  const CheckpointShapes& net = of.masknet();
  const std::string rnn = "dual_mdl.0.intra_mdl.mdl.rnn.weight_hh_l";
  const Index width = of.encoder().extent("conv1d.weight", 0, "in_channels");
  c.kernel_size = of.encoder().extent("conv1d.weight", 2, "kernel_size");
  const bool published = width == c.in_channels && c.kernel_size == 16;
  if (!published) net.open("K", "no shape depends on it");
  c.norm = of.norm(c.norm, published);
  c.channels = net.extent("conv1d.weight", 0, "channels");
  c.hidden = net.extent(rnn + "0", 1, "hidden");
  c.rnn_layers = net.count(rnn, "");
  c.num_layers = net.count("dual_mdl.", ".intra_mdl.mdl.rnn.weight_hh_l0");
  c.num_spks = net.extent("conv2d.bias", 0, "num_spks") / (c.channels < 1 ? 1 : c.channels);
  return c;
}

}  // namespace detail

// `config` in the metadata, else what the shapes tell. ConfigError names a field that stays open.
template <class Config>
Config separator_config(const SeparatorShapes& of) {
  if (const auto config = config_in_metadata<Config>(of.file())) return *config;
  return detail::config_from_shapes(of, Config{}).checked();
}

}  // namespace aulos::inline AULOS_ISA::models
