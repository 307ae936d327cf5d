// conditioning: the adaptive norms, and the sinusoids of times and positions.
#include "aulos/conditioning/ada_layer_norm.hpp"
#include "aulos/conditioning/ada_layer_norm_zero_dual.hpp"
#include "aulos/conditioning/ada_layer_norm_zero_pair.hpp"
#include "aulos/conditioning/ada_layer_norm_zero_shared.hpp"
#include "aulos/conditioning/ada_layer_norm_zero_single.hpp"
#include "aulos/conditioning/ada_rms_norm.hpp"
#include "aulos/conditioning/film.hpp"
#include "aulos/conditioning/position_table.hpp"
#include "aulos/conditioning/scale_only_final.hpp"
#include "aulos/conditioning/timestep_conventions.hpp"
#include "aulos/conditioning/zero_linear.hpp"
#include "aulos/ops/fourier_features.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;
using namespace aulos::conditioning;

namespace {

// What a module returns: <module>.0, <module>.1, .. Rows stand as [B, C] in the case, but for CogVideoX.
class Outputs {
 public:
  Outputs(Case& c, std::string module) : case_(c), module_(std::move(module)) {}

  Outputs& tokens(const Tensor<float, 3>& x) {
    case_.output(next(), x);
    return *this;
  }
  Outputs& row(const Tensor<float, 3>& x) {
    case_.output(next(), x.reshape(Shape<2>{x.extent(0), x.extent(2)}));
    return *this;
  }

 private:
  std::string next() { return module_ + "." + std::to_string(count_++); }

  Case& case_;
  std::string module_;
  int count_ = 0;
};

void ada_norms(Case& c) {
  const Index channels = c.config().get<Index>("C");
  const Index width = c.config().get<Index>("T");
  const auto x = c.input<3>("x");
  const auto y = c.input<3>("y");
  const auto control = c.input<3>("control");
  const auto raw_c = c.input<2>("c");
  const auto raw_temb = c.input<2>("temb");
  const auto vector = silu(raw_c);
  const auto temb = silu(raw_temb);
  const nn::LayerNorm<float> plain(channels, 1e-6, nn::Affine::no);
  const nn::LayerNorm<float> plain5(channels, 1e-5, nn::Affine::no);
  const nn::LayerNorm<float> affine(channels, 1e-5);
  const auto modulated = [](const auto& norm, const Tensor<float, 3>& tokens, const Modulation<float>& m) {
    return norm.modulated(tokens, m.shift, m.scale);
  };
  // A norm's rows in front of x, then the gate of attention and what belongs to the feed-forward.
  const auto zero_rows = [&](Outputs& out, const nn::LayerNorm<float>& norm, const Tensor<float, 3>& tokens,
                             const StreamModulation<float>& m) {
    out.tokens(modulated(norm, tokens, m.attention))
        .row(m.attention.gate)
        .row(m.mlp.shift)
        .row(m.mlp.scale)
        .row(m.mlp.gate);
  };

  Outputs zero(c, "zero");
  zero_rows(zero, plain, x, c.module_at<AdaLayerNormZero<float>>("zero.", channels, channels)(vector));

  const auto single = c.module_at<AdaLayerNormZeroSingle<float>>("zero_single.", channels, channels)(vector);
  Outputs(c, "zero_single").tokens(modulated(plain, x, single)).row(single.gate);

  const auto dual = c.module_at<AdaLayerNormZeroDual<float>>("sd35.", channels, channels)(vector);
  Outputs sd35(c, "sd35");
  zero_rows(sd35, plain, x, dual.stream);
  sd35.tokens(modulated(plain, x, dual.attention2)).row(dual.attention2.gate);

  const auto pair = c.module_at<AdaLayerNormZeroPair<float>>("cogview.", width, channels)(temb);
  Outputs cogview(c, "cogview");
  zero_rows(cogview, plain5, x, pair[0]);
  zero_rows(cogview, plain5, y, pair[1]);

  const auto shared = c.module_at<AdaLayerNormZeroShared<float>>("cogvideox.", width, channels)(x, y, temb);
  Outputs cogvideox(c, "cogvideox");
  for (const auto& tokens : {shared.x[0], shared.x[1], shared.gate[0], shared.gate[1]}) cogvideox.tokens(tokens);

  using Final = AdaLayerNormContinuous<float>;
  Outputs(c, "continuous").tokens(c.module_at<Final>("continuous.", width, channels, plain)(x, temb));
  Outputs(c, "continuous_affine").tokens(c.module_at<Final>("continuous_affine.", width, channels, affine)(x, temb));
  using RmsFinal = AdaLayerNormContinuous<float, nn::RmsNorm<float>>;
  const nn::RmsNorm<float> rms(channels, 1e-6);
  Outputs(c, "continuous_rms").tokens(c.module_at<RmsFinal>("continuous_rms.", width, channels, rms)(x, temb));
  Outputs(c, "ada_layer_norm")
      .tokens(c.module_at<Final>("ada_layer_norm.", width, channels, plain5, FinalOrder::shift_scale)(x, temb));

  const auto rms_rows = [&](const char* name, const AdaRmsNormZero<float>& module, const Tensor<float, 2>& of) {
    const auto m = module.rows(of);
    Outputs(c, name).tokens(module(x, m)).row(m.attention.gate).row(m.mlp.scale).row(m.mlp.gate);
  };
  rms_rows("lumina",
           c.module_at<AdaRmsNormZero<float>>("lumina.", channels, channels, nn::RmsNorm<float>(channels, 1e-5)),
           vector);
  const nn::RmsNorm<float> weightless(channels, 1e-5, nn::Affine::no);
  rms_rows("mochi", c.module_at<AdaRmsNormZero<float>>("mochi.", width, channels, weightless), temb);
  const Index out = c.checkpoint().info("param/lumina_out.linear_2.weight").shape[0];
  Outputs(c, "lumina_out").tokens(c.module_at<ScaleOnlyFinal<float>>("lumina_out.", width, channels, out)(x, temb));

  auto& film = c.module_at<Film<float>>("film.", width, channels);
  Outputs films(c, "film");
  films.tokens(film(x, raw_temb));
  film.form = FilmScale::one_plus_gamma;
  films.tokens(film(x, raw_temb));

  Outputs(c, "zero_linear").tokens(c.module_at<ZeroLinear<float>>("zero_linear.", channels, channels)(x, control));
}

void timestep_embeddings(Case& c) {
  const Index width = c.config().get<Index>("dim");
  const Index even = 2 * (width / 2);
  const auto t = c.input<1>("t");
  const auto waves = [&](const char* name, const SinusoidOptions& options) { c.output(name, sinusoid(t, options)); };
  using enum SinusoidOrder;
  waves("flip_shift0", glide_sinusoid(width));
  waves("flip_shift1", {.width = width, .frequency_shift = 1});
  waves("noflip_shift0", {.width = width, .order = sin_first});
  waves("noflip_shift1", ddpm_sinusoid(width));
  waves("flip_shift0_period256", {.width = width, .max_period = 256});
  waves("flip_shift0_scale1000", {.width = width, .scale = 1000});
  waves("glide_cos_sin", glide_sinusoid(width));
  waves("float64_cos_sin", wan_sinusoid(even));
  c.output("gaussian_fourier_cos_sin", fourier_features(t, c.input<1>("gaussian_weight")));
  const Index positions = c.config().get<Index>("interleaved_positions");
  c.output("interleaved_table", position_table<float>(c.context(), positions, interleaved_sinusoid(even)));
  if (width % 4 != 0) return;
  c.output("sincos_1d", position_table<float>(c.context(), positions, position_sinusoid(width)));
  const Index side = c.config().get<Index>("grid");
  c.output("sincos_2d_grid3", position_table_2d<float>(c.context(), {.rows = side, .columns = side}, width));
}

}  // namespace

void add_conditioning(Registry& registry) {
  registry.add("conditioning.ada_norms", ada_norms);
  registry.add("conditioning.timestep_embeddings", timestep_embeddings);
}

}  // namespace verify
