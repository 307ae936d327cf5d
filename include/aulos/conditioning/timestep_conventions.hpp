// The sinusoids in use, by name. They differ in order, frequencies and precision, and a wrong one loads without error.
#pragma once

#include "aulos/core/config.hpp"
#include "aulos/ops/sinusoid.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// GLIDE, DiT, SD3, Flux, PixArt, SANA, HunyuanVideo, LTX-2: cosines first, 10000^(-i / h), in float.
constexpr SinusoidOptions glide_sinusoid(Index width = 256) { return {.width = width}; }

// Wan: the same in double.
constexpr SinusoidOptions wan_sinusoid(Index width = 256) {
  return {.width = width, .precision = SinusoidPrecision::float64};
}

// DDPM, the U-Nets of diffusers (its defaults), Diffusion Policy, NavDP: sines first, 10000^(-i / (h - 1)).
constexpr SinusoidOptions ddpm_sinusoid(Index width) {
  return {.width = width, .order = SinusoidOrder::sin_first, .frequency_shift = 1};
}

// The frequencies of DiT-Block policy, before they were stored: cosines first, 10000^(-i / (h - 1)).
constexpr SinusoidOptions policy_sinusoid(Index width = 256) { return {.width = width, .frequency_shift = 1}; }

// "Attention Is All You Need": sine at even, cosine at odd places, 10000^(-2 i / width). Tables that integer times or
// positions index (DLT, NavDP, the encoder of DiT-Block policy).
constexpr SinusoidOptions interleaved_sinusoid(Index width) {
  return {.width = width, .order = SinusoidOrder::interleaved};
}

// Positions in DiT, PixArt, VDT, RDT: sines first, 10000^(-i / h), in double.
constexpr SinusoidOptions position_sinusoid(Index width) {
  return {.width = width, .order = SinusoidOrder::sin_first, .precision = SinusoidPrecision::float64};
}

}  // namespace aulos::inline AULOS_ISA::conditioning
