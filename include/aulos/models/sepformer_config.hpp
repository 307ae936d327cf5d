// The configurations of SepFormer and DPRNN, with the field names of SpeechBrain, and the published variants.
#pragma once

#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/json.hpp"
#include "aulos/models/config_fields.hpp"

namespace aulos::inline AULOS_ISA::models {

// Over all tokens and channels of a sample (ln and gln: the same formula, differently stored), or over the channels of
// each token.
enum class SeparatorNorm { ln, gln, cln };

// One path of a SepFormer: a stack of transformer layers.
struct TransformerPathConfig {
  Index layers = 8;
  Index heads = 8;
  Index hidden = 1024;  // of the feed-forward
  bool positional = true;
  bool norm_before = true;
};

// One path of a DPRNN: recurrent layers in both directions.
struct RecurrentPathConfig {
  Index hidden = 256;
  Index layers = 1;
};

// The mask network around the paths.
template <class Path>
struct MaskNetConfig {
  Index in_channels, channels, chunk, blocks, speakers;
  SeparatorNorm norm;
  bool skip_around_intra;
  bool linear_after_paths;
  Path intra, inter;
};

namespace detail {

inline constexpr Spelling<SeparatorNorm> separator_norms[] = {
    {SeparatorNorm::ln, "ln"}, {SeparatorNorm::gln, "gln"}, {SeparatorNorm::cln, "cln"}};

}  // namespace detail

struct SepFormerConfig {
  static constexpr const char* name = "sepformer";

  Index encoder_kernel_size = 16;
  Index encoder_in_nchannels = 1;
  Index encoder_out_nchannels = 256;
  Index masknet_chunksize = 250;
  Index masknet_numlayers = 2;
  SeparatorNorm masknet_norm = SeparatorNorm::ln;
  bool masknet_useextralinearlayer = false;
  bool masknet_extraskipconnection = true;
  Index masknet_numspks = 2;
  TransformerPathConfig intra, inter;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f("encoder_kernel_size", c.encoder_kernel_size);
    f("encoder_in_nchannels", c.encoder_in_nchannels);
    f("encoder_out_nchannels", c.encoder_out_nchannels);
    f("masknet_chunksize", c.masknet_chunksize);
    f("masknet_numlayers", c.masknet_numlayers);
    f("masknet_norm", c.masknet_norm, detail::separator_norms);
    f("masknet_useextralinearlayer", c.masknet_useextralinearlayer);
    f("masknet_extraskipconnection", c.masknet_extraskipconnection);
    f("masknet_numspks", c.masknet_numspks);
    f("intra_numlayers", c.intra.layers);
    f("inter_numlayers", c.inter.layers);
    f("intra_nhead", c.intra.heads);
    f("inter_nhead", c.inter.heads);
    f("intra_dffn", c.intra.hidden);
    f("inter_dffn", c.inter.hidden);
    f("intra_use_positional", c.intra.positional);
    f("inter_use_positional", c.inter.positional);
    f("intra_norm_before", c.intra.norm_before);
    f("inter_norm_before", c.inter.norm_before);
  }

  Index kernel() const noexcept { return encoder_kernel_size; }
  MaskNetConfig<TransformerPathConfig> masknet() const {
    return {encoder_out_nchannels,
            encoder_out_nchannels,
            masknet_chunksize,
            masknet_numlayers,
            masknet_numspks,
            masknet_norm,
            masknet_extraskipconnection,
            masknet_useextralinearlayer,
            intra,
            inter};
  }

  // Itself, or ConfigError naming the field that can't be.
  const SepFormerConfig& checked() const {
    fields(*this, FieldChecker(name));
    const auto fail = [](const std::string& text) { throw ConfigError("sepformer: " + text); };
    if (encoder_kernel_size < 2) fail("encoder_kernel_size is 1, expected >= 2 (the stride is half of it)");
    if (encoder_in_nchannels != 1)
      fail("encoder_in_nchannels is " + std::to_string(encoder_in_nchannels) + ", expected 1");
    check_multiple(name, "encoder_out_nchannels", encoder_out_nchannels, "intra_nhead = ", intra.heads);
    check_multiple(name, "encoder_out_nchannels", encoder_out_nchannels, "inter_nhead = ", inter.heads);
    return *this;
  }

  // From JSON with the names of SepformerWrapper's arguments. Absent fields keep the published values.
  static SepFormerConfig from_json(const io::json::Value& json) { return config_of_fields<SepFormerConfig>(json); }
  std::string to_json() const { return json_of_fields(*this); }
  // Blocks of a model, each of which has tensors of its own.
  double blocks() const noexcept {
    return static_cast<double>(masknet_numlayers) *
           (static_cast<double>(intra.layers) + static_cast<double>(inter.layers));
  }

  // Published: WSJ0-2mix, WHAM!, WHAMR!, Libri2Mix 25,679,361 parameters; WSJ0-3mix, Libri3Mix 25,745,153; enhancement
  // is the same with one speaker.
  static SepFormerConfig speakers(Index count) {
    SepFormerConfig c;
    c.masknet_numspks = count;
    return c;
  }
  static SepFormerConfig two_speakers() { return speakers(2); }
  static SepFormerConfig three_speakers() { return speakers(3); }
  static SepFormerConfig enhancement() { return speakers(1); }
};

struct DprnnConfig {
  static constexpr const char* name = "dprnn";

  Index kernel_size = 16;
  Index in_channels = 256;  // of the encoder
  Index channels = 256;     // of the paths
  Index hidden = 256;
  Index rnn_layers = 1;
  Index num_layers = 6;  // blocks
  SeparatorNorm norm = SeparatorNorm::ln;
  Index K = 250;
  Index num_spks = 2;
  bool skip_around_intra = true;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f("kernel_size", c.kernel_size);
    f("in_channels", c.in_channels);
    f("channels", c.channels);
    f("hidden", c.hidden);
    f("rnn_layers", c.rnn_layers);
    f("num_layers", c.num_layers);
    f("norm", c.norm, detail::separator_norms);
    f("K", c.K);
    f("num_spks", c.num_spks);
    f("skip_around_intra", c.skip_around_intra);
  }

  Index kernel() const noexcept { return kernel_size; }
  MaskNetConfig<RecurrentPathConfig> masknet() const {
    const RecurrentPathConfig path{hidden, rnn_layers};
    return {in_channels, channels, K, num_layers, num_spks, norm, skip_around_intra, true, path, path};
  }

  const DprnnConfig& checked() const {
    fields(*this, FieldChecker(name));
    if (kernel_size < 2) throw ConfigError("dprnn: kernel_size is 1, expected >= 2 (the stride is half of it)");
    return *this;
  }
  static DprnnConfig from_json(const io::json::Value& json) { return config_of_fields<DprnnConfig>(json); }
  std::string to_json() const { return json_of_fields(*this); }
  // Blocks of a model, each of which has tensors of its own.
  double blocks() const noexcept { return static_cast<double>(num_layers) * static_cast<double>(rnn_layers); }

  // The recipe for WSJ0-2mix with LSTMs: 14,617,089 parameters.
  static DprnnConfig two_speakers() { return {}; }
};

}  // namespace aulos::inline AULOS_ISA::models
