// Signals to spectra and back: the short-time Fourier transform, its adjoint and its inverse, as products with a basis.
#pragma once

#include <algorithm>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/pad.hpp"
#include "aulos/kernels/segment.hpp"
#include "aulos/kernels/stft.hpp"
#include "aulos/ops/op.hpp"
#include "aulos/ops/stft_basis.hpp"

namespace aulos::inline AULOS_ISA {

namespace any {

// The sizes of a transform of `batch` signals, or of their spectra.
template <Real T>
kernels::StftShape stft_shape(const StftBasis<T>& basis, Index batch, Index frames) {
  return {batch, basis.n_fft(), basis.hop(), frames, basis.bins()};
}

template <Real T>
void check_basis(const Op& op, const StftBasis<T>& basis) {
  op.require(!basis.empty(), [] { return "the basis is absent: make it from options first"; });
}

// The signals [batch, length] and their padding, as kernels::pad has them.
template <Real T>
kernels::PadShape signal_padding(const StftBasis<T>& basis, Index batch, Index length) {
  kernels::PadShape s;
  s.rank = 2;
  s.axis[0] = {batch, batch, 0, PadMode::constant, false};
  s.axis[1] = {length, length + 2 * basis.padding(), basis.padding(), basis.options().padding, false};
  return s;
}

// Throws where signals of `length` samples can't be padded or hold no frame.
template <Real T>
void check_signal(const Op& op, const StftBasis<T>& basis, Index length) {
  const Index padding = basis.padding();
  const PadMode mode = basis.options().padding;
  op.require(padding == 0 || mode == PadMode::constant ||
                 (mode == PadMode::reflect    ? padding < length
                  : mode == PadMode::circular ? padding <= length
                                              : length > 0),
             [&] {
               return concat_text({"a signal of ", length, " samples, expected more than the n_fft / 2 = ", padding,
                                   " that its padding takes from it"});
             });
  op.require(basis.frames(length) > 0, [&] {
    return concat_text({"a signal of ", length, " samples, ", length + 2 * padding,
                        " with padding, expected at least n_fft = ", basis.n_fft()});
  });
}

// The sizes behind spectra [.., 2, F, frames].
template <Real T>
kernels::StftShape check_spectra(const Op& op, const char* name, const AnyTensor<T>& z, const StftBasis<T>& basis) {
  const int r = z.rank();
  op.require(z.extent(r - 3) == 2 && z.extent(r - 2) == basis.bins() && z.last() > 0, [&] {
    return concat_text({name, " ", z.dims(), ", expected [.., 2, ", basis.bins(), ", 1 or more frames]"});
  });
  Index batch = 1;
  for (int axis = 0; axis < r - 3; ++axis) batch *= z.extent(axis);
  return stft_shape(basis, batch, z.last());
}

// [.., length] for spectra [.., 2, F, frames].
inline Dims signal_dims(const Dims& spectra, Index length) {
  Dims dims = spectra;
  dims.rank -= 2;
  dims.extent[dims.rank - 1] = length;
  return dense_dims(dims.extent, dims.rank);
}

// What a product with the basis costs, `arrays` elements of other work beside it.
template <Real T>
Cost stft_cost(const kernels::StftShape& s, Index signal, Index arrays) {
  const double spectra = static_cast<double>(s.batch) * static_cast<double>(s.spectrum());
  const double basis = 2.0 * static_cast<double>(s.bins) * static_cast<double>(s.n_fft);
  return {.flops = 2 * spectra * static_cast<double>(s.n_fft) + static_cast<double>(arrays),
          .bytes = static_cast<double>(sizeof(T)) *
                   (spectra + basis + static_cast<double>(s.batch * signal) + 2 * static_cast<double>(arrays)),
          .scratch = kernels::stft_scratch<T>(s)};
}

// The frames [B, frames, n_fft] of spectra z added up to signals of `length` samples, dense [B, length].
template <Real T>
void add_frames(Threads threads, const kernels::StftShape& s, const StftBasis<T>& basis, const T* z, T* frames,
                Index length, T* signal) {
  kernels::stft_frames<T>(threads, s, basis.rows(), z, frames);
  const kernels::ChunkTable table{length, s.n_fft, s.frames, 0, s.hop, s.hop};
  kernels::overlap_add<T>(threads, s.batch, 1, table, {frames, s.frames * s.n_fft, s.n_fft, 1}, nullptr,
                          {signal, length, 1});
}

template <Real T>
AnyTensor<T> stft_adjoint(const AnyTensor<T>& y, const StftBasis<T>& basis, Index length);

template <Real T>
AnyTensor<T> stft(const AnyTensor<T>& x, const StftBasis<T>& basis) {
  Op op("stft", arg("x", x));
  check_basis(op, basis);
  const Index length = x.last(), batch = x.rows();
  check_signal(op, basis, length);
  const kernels::StftShape s = stft_shape(basis, batch, basis.frames(length));
  Dims dims = x.dims();
  dims.extent[dims.rank - 1] = 2;
  dims.extent[dims.rank] = s.bins;
  dims.extent[dims.rank + 1] = s.frames;
  AnyTensor<T> y = op.empty<T>(dense_dims(dims.extent, dims.rank + 2));
  const AnyTensor<T> from = op.dense(x);
  const kernels::PadShape pad = signal_padding(basis, batch, length);
  const Index padded = pad.axis[1].out;
  const AnyTensor<T> signal = basis.padding() == 0 ? from : op.empty<T>(dense_dims({batch, padded}));
  op.run(stft_cost<T>(s, length, basis.padding() == 0 ? 0 : batch * padded), [&](Threads threads) {
    if (basis.padding() != 0) kernels::pad<T>(threads, pad, T(0), from.data(), signal.mutable_data());
    kernels::stft<T>(threads, s, basis.rows(), {signal.data(), padded}, y.mutable_data());
  });
  if (op.recording()) {
    op.record(y, [basis, length, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) {
      tape.give(gx, stft_adjoint(gy, basis, length));
    });
  }
  return op.result(std::move(y));
}

template <Real T>
AnyTensor<T> stft_adjoint(const AnyTensor<T>& y, const StftBasis<T>& basis, Index length) {
  Op op("stft_adjoint", arg("y", y));
  check_basis(op, basis);
  const kernels::StftShape s = check_spectra(op, "y", y, basis);
  check_signal(op, basis, length);
  op.require(basis.frames(length) == s.frames, [&] {
    return concat_text(
        {"y ", y.dims(), " for signals of ", length, " samples, expected ", basis.frames(length), " frames"});
  });
  AnyTensor<T> x = op.empty<T>(signal_dims(y.dims(), length));
  const AnyTensor<T> from = op.dense(y);
  const kernels::PadShape pad = signal_padding(basis, s.batch, length);
  const Index padded = pad.axis[1].out;
  const AnyTensor<T> frames = op.empty<T>(dense_dims({s.batch, s.frames, s.n_fft}));
  const AnyTensor<T> signal = basis.padding() == 0 ? x : op.empty<T>(dense_dims({s.batch, padded}));
  op.run(stft_cost<T>(s, length, frames.count() + s.batch * padded), [&](Threads threads) {
    add_frames<T>(threads, s, basis, from.data(), frames.mutable_data(), padded, signal.mutable_data());
    if (basis.padding() != 0) kernels::pad_backward<T>(threads, pad, signal.data(), x.mutable_data());
  });
  if (op.recording()) {
    op.record(x, [basis, gy = op.ghost(y)](GradTape& tape, AnyTensor<T> gx) { tape.give(gy, stft(gx, basis)); });
  }
  return op.result(std::move(x));
}

// What one_sided has to multiply with so that the basis, which holds the scale of the forward transform, inverts it.
template <Real T>
double inverse_factor(const StftBasis<T>& basis) {
  return basis.options().scale == StftScale::none ? 1 / static_cast<double>(basis.n_fft()) : 1.0;
}

template <Real T>
AnyTensor<T> istft(const AnyTensor<T>& z, const StftBasis<T>& basis, Index length) {
  Op op("istft", arg("z", z));
  check_basis(op, basis);
  const kernels::StftShape s = check_spectra(op, "z", z, basis);
  const Index span = s.span(), first = (std::min)(basis.padding(), span), all = (std::max)(span - 2 * first, Index{0});
  op.require(length >= 0 && (length > 0 || all > 0), [&] {
    return concat_text(
        {"z ", z.dims(), ", length ", length, ", expected a length of 1 or more, or frames that cover one"});
  });
  if (length == 0) length = all;
  const kernels::StftNormalisation cut{first, (std::min)(length, span - first), 0, length};
  for (Index p = first; p < first + cut.count; ++p) {
    op.require(kernels::stft_envelope(s, basis.window(), p) >= 1e-11, [&] {
      return concat_text({"z ", z.dims(), ": the squared windows add up to nothing at sample ", p - first,
                          ", expected at least 1e-11 (hop ", s.hop, " and window [", *basis.options().win_length,
                          "])"});
    });
  }
  AnyTensor<T> x = op.empty<T>(signal_dims(z.dims(), length));
  const AnyTensor<T> from = op.dense(z);
  const AnyTensor<T> weighted = op.like(z);
  const AnyTensor<T> frames = op.empty<T>(dense_dims({s.batch, s.frames, s.n_fft}));
  const AnyTensor<T> sum = op.empty<T>(dense_dims({s.batch, span}));
  const Index arrays = z.count() + frames.count() + 2 * s.batch * span;
  op.run(stft_cost<T>(s, length, arrays), [&](Threads threads) {
    kernels::stft_one_sided<T>(threads, s, inverse_factor(basis), from.data(), weighted.mutable_data());
    add_frames<T>(threads, s, basis, weighted.data(), frames.mutable_data(), span, sum.mutable_data());
    kernels::stft_normalise<T>(threads, s, basis.window(), cut, {sum.data() + first, span}, {x.mutable_data(), length});
  });
  if (op.recording()) {
    op.record(x, [basis, s, cut, gz = op.ghost(z)](GradTape& tape, AnyTensor<T> gx) {
      Op back("istft_backward", arg("gx", gx));
      const Index samples = s.span();
      const AnyTensor<T> signal = back.template empty<T>(dense_dims({s.batch, samples}));
      AnyTensor<T> dz = back.template empty<T>(gz.dims);
      const kernels::StftNormalisation place{cut.first, cut.count, cut.first, samples};
      back.run(stft_cost<T>(s, samples, dz.count() + s.batch * samples), [&](Threads threads) {
        kernels::stft_normalise<T>(threads, s, basis.window(), place, {gx.data(), cut.length},
                                   {signal.mutable_data(), samples});
        kernels::stft<T>(threads, s, basis.rows(), {signal.data(), samples}, dz.mutable_data());
        kernels::stft_one_sided<T>(threads, s, inverse_factor(basis), dz.data(), dz.mutable_data());
      });
      tape.give(gz, std::move(dz));
    });
  }
  return op.result(std::move(x));
}

}  // namespace any

// [.., L] -> [.., 2, F, frames]: the real and the imaginary parts of the spectra of windowed frames, side by side as
// channels are, so that [B, C, L] gives [B, C, 2, F, frames], an image of 2 C channels after a reshape. The cost is
// that of a product, 4 F n_fft operations for each frame. With s = torch.stft(x, ..., return_complex=True), y[..., 0,
// :, :] is s.real and y[..., 1, :, :] is s.imag; with return_complex=False, y is s.movedim(-1, -3).
template <Real T, int Rank>
Tensor<T, Rank + 2> stft(const Tensor<T, Rank>& x, const StftBasis<T>& basis) {
  return Tensor<T, Rank + 2>(any::stft(x.any(), basis));
}

// [.., 2, F, frames] -> [.., length], the transpose of `stft` on signals of `length` samples, no inverse: the gradient
// that torch.stft gives its argument.
template <Real T, int Rank>
Tensor<T, Rank - 2> stft_adjoint(const Tensor<T, Rank>& y, const StftBasis<T>& basis, Index length) {
  static_assert(Rank >= 3, "spectra have three axes or more: parts, bins, frames");
  return Tensor<T, Rank - 2>(any::stft_adjoint(y.any(), basis, length));
}

// [.., 2, F, frames] -> [.., length]: the signal whose frames come nearest to these spectra, the sum of their windowed
// inverse transforms divided by the sum of the squared windows. length 0: all samples that the frames reach, less the
// padding; samples behind those are zeros. As torch.istft, it reads bins 0 .. n_fft / 2 alone, the real parts alone of
// bin 0 and (n_fft even) of the last, and refuses windows that leave a sample uncovered.
template <Real T, int Rank>
Tensor<T, Rank - 2> istft(const Tensor<T, Rank>& z, const StftBasis<T>& basis, Index length = 0) {
  static_assert(Rank >= 3, "spectra have three axes or more: parts, bins, frames");
  return Tensor<T, Rank - 2>(any::istft(z.any(), basis, length));
}

}  // namespace aulos::inline AULOS_ISA
