// Guidance: combinations of conditional and unconditional predictions, on velocities, noise or x0 alike.
#pragma once

#include <array>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/reduce.hpp"

namespace aulos::inline AULOS_ISA::diffusion {

// u + scale (c - u).
template <Real T, int Rank>
Tensor<T, Rank> classifier_free_guidance(const Tensor<T, Rank>& unconditional, const Tensor<T, Rank>& conditional,
                                         double scale) {
  return linear_combination(std::array{unconditional, conditional}, {static_cast<T>(1 - scale), static_cast<T>(scale)});
}

// Both predictions as halves of one batch, the conditional first: [2 B, C, ..]. The first `guided_channels` become
// u + scale (c - u) in both halves, the others stay as predicted in each. DiT guides 3 of its 4 (and of none of the
// variance).
template <Real T, int Rank>
requires(Rank >= 2) Tensor<T, Rank> guide_halves(const Tensor<T, Rank>& both, double scale, Index guided_channels) {
  const Index half = both.extent(0) / 2;
  const Index channels = both.extent(1);
  if (both.extent(0) % 2 != 0 || guided_channels < 0 || guided_channels > channels)
    throw ShapeError("guide_halves: both " + to_string(both.shape()) + ", expected an even batch and at least " +
                     std::to_string(guided_channels) + " channels");
  const auto part = [&](Index from, Index to) { return both.slice(1, 0, guided_channels).slice(0, from, to); };
  const Tensor<T, Rank> guided = classifier_free_guidance(part(half, 2 * half), part(0, half), scale);
  const Tensor<T, Rank> rest = both.slice(1, guided_channels, channels);
  return concat(std::array{concat(std::array{guided, guided}, 0), rest}, 1);
}

// Over which elements a standard deviation is taken.
enum class RescaleOver { sample, all };

// share * g * std(conditional) / std(g) + (1 - share) g: guidance that keeps the spread of the conditional prediction.
template <Real T, int Rank>
Tensor<T, Rank> rescale_guidance(const Tensor<T, Rank>& g, const Tensor<T, Rank>& conditional, double share,
                                 RescaleOver over = RescaleOver::sample) {
  const Index groups = over == RescaleOver::sample ? g.extent(0) : 1;
  const Shape<2> rows{groups, groups == 0 ? 0 : g.count() / groups};
  const auto variance = [&](const Tensor<T, Rank>& x) {
    const Tensor<T, 2> flat = x.reshape(rows);
    const Tensor<T, 2> centred = subtract(flat, mean_last(flat));
    return mean_last(multiply(centred, centred));
  };
  const Tensor<T, 2> ratio = apply(divide(variance(conditional), variance(g)), Activation::sqrt);
  const Tensor<T, 2> factor = scale(ratio, static_cast<T>(share), static_cast<T>(1 - share));
  return multiply(g.reshape(rows), factor).reshape(g.shape());
}

struct ModalityGuidanceScales {
  double text = 1;       // against the prediction without text
  double perturbed = 0;  // against the one with perturbed attention (STG)
  double modality = 1;   // against the one without the other modality
};

// c + (s_text - 1)(c - u_text) + s_stg (c - u_stg) + (s_mod - 1)(c - u_mod), on x0 predictions: LTX-2.
template <Real T, int Rank>
Tensor<T, Rank> modality_guidance(const Tensor<T, Rank>& conditional, const Tensor<T, Rank>& without_text,
                                  const Tensor<T, Rank>& perturbed, const Tensor<T, Rank>& isolated,
                                  const ModalityGuidanceScales& s) {
  return linear_combination(std::array{conditional, without_text, perturbed, isolated},
                            {static_cast<T>(s.text + s.perturbed + s.modality - 1), static_cast<T>(1 - s.text),
                             static_cast<T>(-s.perturbed), static_cast<T>(1 - s.modality)});
}

// u + text (c - m) + motion (m - u), m the prediction with motion only: GenTron.
template <Real T, int Rank>
Tensor<T, Rank> motion_free_guidance(const Tensor<T, Rank>& unconditional, const Tensor<T, Rank>& conditional,
                                     const Tensor<T, Rank>& motion_only, double text, double motion) {
  return linear_combination(std::array{unconditional, conditional, motion_only},
                            {static_cast<T>(1 - motion), static_cast<T>(text), static_cast<T>(motion - text)});
}

// u + text (p - u) + cross (c - p), p the prediction with text only: CCL.
template <Real T, int Rank>
Tensor<T, Rank> cross_guidance(const Tensor<T, Rank>& unconditional, const Tensor<T, Rank>& conditional,
                               const Tensor<T, Rank>& text_only, double text, double cross) {
  return linear_combination(std::array{unconditional, conditional, text_only},
                            {static_cast<T>(1 - text), static_cast<T>(cross), static_cast<T>(text - cross)});
}

// target + weight keep (c - u), keep [B] 0 or 1 by sample: the training target of MGAudio.
template <Real T>
Tensor<T, 3> model_guidance_target(const Tensor<T, 3>& target, const Tensor<T, 3>& unconditional,
                                   const Tensor<T, 3>& conditional, const Tensor<T, 1>& keep, double weight) {
  const T w = static_cast<T>(weight);
  const Tensor<T, 3> difference = linear_combination(std::array{conditional, unconditional}, {w, -w});
  return add(target, multiply(difference, keep.reshape(Shape<3>{keep.extent(0), 1, 1})));
}

}  // namespace aulos::inline AULOS_ISA::diffusion
