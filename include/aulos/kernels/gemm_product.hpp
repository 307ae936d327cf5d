// The ways in which gemm multiplies: what a strip of x and a panel of W are, for each storage and numeric mode.
//
// A product P has
//   Real, rows            the type of y; rows of a strip
//   row_step              a strip writes a multiple of so many rows
//   depth(), chunk        elements of a line of x as strips hold it; those after which the chunks of a sum end
//   strip_size()          elements of a strip
//   panel_row             elements of a panel for each of the depth
//   panel(i)              a panel; or, where makes_panels, make_panel(i, fresh) writes one
//   pack(x, ldx, valid, strip, steps)                          rows of x as a strip, and their steps
//   multiply(valid, begin, count, strip, panel, out, ahead)    elements [begin, begin + count) of the depth
//   reads_rows            whether multiply_rows(valid, x, ldx, panel, out, ahead) multiplies rows of x in place, all of
//                         their depth
//   has_pairs             whether multiply_pair(strip, half, panel, out, ahead) multiplies half of the rows of a strip
//                         and two panels
//   has_few               whether lines(x, ldx, few, space, steps) and multiply_few<few, panels>(lines, ld, panel, out)
//                         do the same for up to gemm_few_rows rows
//   has_steps             whether the tile's sums are integers, which finish() turns into numbers of y
//   fuses_steps           whether multiply() does so itself, of a depth of one chunk, given steps()
//   puts_off              whether all that follows the sums is done while the next strip is multiplied; multiply() then
//                         begins with the bias and is told which lines of y are written next (WriteAhead)
//   Scope, prepare()      what a piece holds while it multiplies; what a product asks of the system before
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "aulos/core/numeric.hpp"
#include "aulos/kernels/gemm_amx.hpp"
#include "aulos/kernels/gemm_dot.hpp"
#include "aulos/kernels/gemm_pack.hpp"
#include "aulos/kernels/gemm_tile.hpp"
#include "aulos/simd/amx.hpp"

namespace aulos::inline AULOS_ISA::kernels {

// A weight [n, k]: panels (see pack_weight) where present, else canonical rows, `ldw` elements apart.
template <class T>
struct WeightView {
  const T* rows = nullptr;
  Index ldw = 0;
  const void* panels = nullptr;
  Numeric type = Numeric::exact;
};

namespace detail {

// Panels at a time for `rows` rows: as many streams as there are registers for.
template <int rows>
inline constexpr int gemm_panels_at_once = rows == 1   ? 4
                                           : rows == 2 ? (gemm_many_registers ? 4 : 2)
                                                       : (gemm_many_registers ? 2 : 1);

struct NoScope {};

// Nothing is rounded: panels of T or of bf16, which the tile widens.
template <class T, Numeric storage>
class ExactProduct {
 public:
  using Real = T;
  using Scope = NoScope;
  static constexpr int rows = gemm_rows;
  static constexpr int row_step = 2;
  static constexpr bool puts_off = false;
  static constexpr bool has_pairs = false;
  static constexpr bool reads_rows = storage == Numeric::exact;
  static constexpr bool makes_panels = false;
  static constexpr Index chunk = gemm_k_chunk;
  static constexpr Index panel_row = gemm_cols<T>;
  static constexpr bool has_few = true;

  constexpr ExactProduct(const WeightView<T>& w, GemmShape s) noexcept : panels_(w.panels), k_(s.k) {}

  static void prepare() noexcept {}
  constexpr Index depth() const noexcept { return k_; }
  constexpr Index strip_size() const noexcept { return gemm_rows * k_; }
  static constexpr bool has_steps = false;

  void pack(const T* x, Index ldx, Index valid, T* strip, T*) const noexcept {
    pack_strip<gemm_rows>(x, ldx, 1, valid, k_, strip);
  }
  const PanelElement<T, storage>* panel(Index i) const noexcept {
    return static_cast<const PanelElement<T, storage>*>(panels_) + i * panel_size<T, storage>(k_);
  }
  void multiply(Index valid, Index begin, Index count, const T* strip, const PanelElement<T, storage>* panel,
                TileOut<T> out, Ahead ahead) const noexcept {
    multiply_strip<T, storage>(valid, count, strip + begin * gemm_rows, panel, out, ahead);
  }
  void multiply_rows(Index valid, const T* x, Index ldx, const T* panel, TileOut<T> out, Ahead ahead) const noexcept
      requires(storage == Numeric::exact) {
    multiply_strip<T, storage, PairOrder::ascending, false>(valid, k_, x, panel, out, ahead, ldx);
  }

  // x itself.
  const T* lines(const T* x, Index& ldx, Index, T*, T*) const noexcept {
    (void)ldx;
    return x;
  }
  template <int few, int panels>
  void multiply_few(const T* lines, Index ld, const PanelElement<T, storage>* panel, TileOut<T> out) const noexcept {
    multiply_tile<T, storage, few, panels, false>(k_, lines, ld, panel, panel_size<T, storage>(k_), out);
  }

 private:
  const void* panels_;
  Index k_;
};

// The same where a panel must be made before the tile can read it: of rows, or of a storage that the tile can't widen.
template <class T>
class WidenedProduct : public ExactProduct<T, Numeric::exact> {
 public:
  static constexpr bool makes_panels = true;
  static constexpr bool reads_rows = false;
  static constexpr bool has_few = false;

  constexpr WidenedProduct(const WeightView<T>& w, GemmShape s) noexcept
      : ExactProduct<T, Numeric::exact>(w, s), w_(w), n_(s.n), k_(s.k) {}

  void make_panel(Index i, T* fresh) const noexcept {
    constexpr Index cols = gemm_cols<T>;
    if (!w_.panels) {
      pack_strip<gemm_cols<T>>(w_.rows + i * cols * w_.ldw, w_.ldw, 1, (std::min)(cols, n_ - i * cols), k_, fresh);
    } else if (w_.type == Numeric::bf16) {
      widen_panel<T, Numeric::bf16>(w_.panels, i, n_, k_, fresh);
    } else {
      widen_panel<T, Numeric::int8>(w_.panels, i, n_, k_, fresh);
    }
  }

 private:
  WeightView<T> w_;
  Index n_, k_;
};

// Activations rounded to bf16, multiplied as float where no instruction multiplies bf16 (or a slow one): the same bits.
class RoundedProduct : public ExactProduct<float, Numeric::bf16> {
 public:
  constexpr RoundedProduct(const WeightView<float>& w, GemmShape s) noexcept : ExactProduct(w, s) {}

  void pack(const float* x, Index ldx, Index valid, float* strip, float*) const noexcept {
    pack_words<gemm_rows, 1>(valid, depth(), strip, [&](Index line, Index begin, Index count, float* out) {
      round(x + line * ldx + begin, count, out);
    });
  }
  void multiply(Index valid, Index begin, Index count, const float* strip, const std::uint16_t* panel,
                TileOut<float> out, Ahead ahead) const noexcept {
    multiply_strip<float, Numeric::bf16, PairOrder::upper_first>(valid, count, strip + begin * gemm_rows, panel, out,
                                                                 ahead);
  }
  const float* lines(const float* x, Index& ldx, Index few, float* space, float*) const noexcept {
    for (Index i = 0; i < few; ++i) round(x + i * ldx, depth(), space + i * depth());
    ldx = depth();
    return space;
  }
  template <int few, int panels>
  void multiply_few(const float* lines, Index ld, const std::uint16_t* panel, TileOut<float> out) const noexcept {
    multiply_tile<float, Numeric::bf16, few, panels, false, PairOrder::upper_first>(
        depth(), lines, ld, panel, panel_size<float, Numeric::bf16>(depth()), out);
  }

 private:
  static void round(const float* x, Index count, float* out) noexcept {
    constexpr Index width = simd::lanes<float>;
    Index i = 0;
    for (; i + width <= count; i += width) simd::store(out + i, simd::round_bf16(simd::load(x + i)));
    if (i < count) {
      simd::store_partial(out + i, simd::round_bf16(simd::load_partial(x + i, count - i)), count - i);
    }
  }
};

// Words multiplied by an instruction (or what stands for it): bf16 pairs, or 8-bit fours with a step for each row.
template <Numeric mode>
class WordProduct {
 public:
  using Real = float;
  using Dot = std::conditional_t<mode == Numeric::bf16, Bf16Dot, Int8Dot>;
  using Scope = NoScope;
  static constexpr int rows = gemm_rows;
  static constexpr int row_step = 2;
  static constexpr bool puts_off = false;
  static constexpr bool has_pairs = gemm_many_registers;
  static constexpr bool reads_rows = false;
  static constexpr bool makes_panels = false;
  static constexpr bool has_steps = mode == Numeric::int8;
  static constexpr bool fuses_steps = has_steps;
  static constexpr Index chunk = Dot::chunk;
  static constexpr Index panel_row = gemm_cols<float>;
  static constexpr bool has_few = true;

  constexpr WordProduct(const WeightView<float>& w, GemmShape s) noexcept : panels_(w.panels), n_(s.n), k_(s.k) {}

  static void prepare() noexcept {}
  constexpr Index depth() const noexcept { return panel_depth<mode>(k_); }
  constexpr Index strip_size() const noexcept { return gemm_rows * strip_depth(depth()); }

  void pack(const float* x, Index ldx, Index valid, float* strip, float* steps) const noexcept {
    pack_blocks<gemm_rows>(x, ldx, valid, strip, steps);
    for (Index from = 0; valid % row_step != 0 && from < depth(); from += word_block) {  // the row that is written too
      std::fill_n(strip + from * gemm_rows + valid * word_block, word_block, 0.0f);
    }
  }
  const float* panel(Index i) const noexcept {
    return static_cast<const float*>(panels_) + i * (gemm_cols<float> * depth());
  }
  void multiply(Index valid, Index begin, Index count, const float* strip, const float* panel, TileOut<float> out,
                Ahead ahead) const noexcept {
    multiply_word_strip<Dot>(valid, count, strip + begin * gemm_rows, panel, out, ahead);
  }

  void multiply_pair(const float* strip, Index half, const float* panel, TileOut<float> out,
                     Ahead ahead) const noexcept {
    multiply_words<Dot, gemm_rows / 2, 2, true>(depth(), strip + half * (gemm_rows / 2 * word_block), 1, panel,
                                                gemm_cols<float> * depth(), out, ahead);
  }

  const float* lines(const float* x, Index& ldx, Index few, float* space, float* steps) const noexcept {
    for (Index i = 0; i < few; ++i) {
      Quantization line;
      if constexpr (has_steps) {
        line = Quantization::of(simd::largest_magnitude(x + i * ldx, k_));
        steps[i] = line.step;
      }
      to_words(x + i * ldx, k_, line, space + i * depth());
    }
    ldx = depth();
    return space;
  }
  template <int few, int panels>
  void multiply_few(const float* lines, Index ld, const float* panel, TileOut<float> out) const noexcept {
    multiply_words<Dot, few, panels, false>(depth(), lines, ld, panel, gemm_cols<float> * depth(), out);
  }

  // int8: what turns the sums of columns from `column` on into numbers.
  TileSteps steps(const float* row_steps, Index column) const noexcept {
    const Int8Columns<float> of(panels_, n_, k_);
    return {row_steps, of.steps + column, of.offsets + column};
  }
  // out = the tile's sums (rows `ld` apart) without the activations' offset, times both steps, plus the bias.
  void finish(const float* tile, Index ld, Index valid, Index columns, const float* steps, Index column,
              TileOut<float> out) const noexcept requires(mode == Numeric::int8) {
    const TileSteps with = this->steps(steps, column);
    constexpr Index width = simd::lanes<float>;
    for (Index j = 0; j < columns; j += gemm_cols<float>) {  // both lines of a row of y one after the other
      simd::Words offset[2];
      simd::Batch<float> column_step[2], bias[2];
      AULOS_UNROLL for (int half = 0; half < 2; ++half) {
        const Index at = j + half * width;
        offset[half] = simd::to_bits(simd::load(reinterpret_cast<const float*>(with.offsets) + at));
        column_step[half] = simd::load(with.columns + at);
        bias[half] = out.bias ? simd::load(out.bias + at) : simd::Batch<float>(-0.0f);
      }
      for (Index i = 0; i < valid; ++i) {
        const simd::Batch<float> step(steps[i]);
        AULOS_UNROLL for (int half = 0; half < 2; ++half) {
          const Index at = j + half * width;
          const auto exact = simd::signed_to_float(simd::to_bits(simd::load(tile + i * ld + at)) - offset[half]);
          simd::store(out.data + i * out.ld + at, simd::fma(exact, step * column_step[half], bias[half]));
        }
      }
    }
  }

 protected:
  // Rows of x as words in blocks, zeros behind the last one.
  template <int height>
  void pack_blocks(const float* x, Index ldx, Index valid, float* strip, float* steps) const noexcept {
    constexpr Index block = word_block * panel_group<mode>;
    for (Index i = 0; i < valid; ++i, x += ldx, strip += word_block) {
      Quantization line;
      if constexpr (has_steps) {
        line = Quantization::of(simd::largest_magnitude(x, k_));
        steps[i] = line.step;
      }
      float* words = strip;
      Index from = 0;
      for (; from + block <= k_; from += block, words += height * word_block) to_words(x + from, block, line, words);
      if (from < k_) {
        std::fill_n(words, word_block, 0.0f);
        to_words(x + from, k_ - from, line, words);
      }
    }
  }

  static void to_words(const float* x, Index count, [[maybe_unused]] const Quantization& line, float* words) noexcept {
    if constexpr (mode == Numeric::bf16) {
      simd::round_to_pairs(x, count, words);
    } else {
      line.apply(x, count, 128, reinterpret_cast<std::uint8_t*>(words));
    }
  }

 private:
  const void* panels_;
  Index n_, k_;
};

#if defined(__AVX512F__)
// The same by tiles.
template <Numeric mode>
class AmxProduct : public WordProduct<mode> {
 public:
  using WordProduct<mode>::depth;
  using Scope = simd::TileScope;
  static constexpr int rows = static_cast<int>(amx_rows);
  static constexpr int row_step = 16;
  static constexpr bool puts_off = true;
  // 16 KiB of an int8 panel: half the lines then come from the first-level cache, which is worth more than keeping sums
  // in memory from chunk to chunk costs. 1024 x 1536 x 1536 takes 0.82 of the time on a Xeon whose second-level cache
  // needs 2.2 cycles for a line, 1.02 where it needs 1.6. Sums of bf16, of twice as many chunks, gain nothing.
  static constexpr Index chunk = mode == Numeric::int8 ? 8 * amx_words : WordProduct<mode>::chunk;
  static constexpr bool has_pairs = false;
  static constexpr bool fuses_steps = false;
  static constexpr bool has_few = mode == Numeric::int8;  // sums of 8-bit products are exact in any order

  constexpr AmxProduct(const WeightView<float>& w, GemmShape s) noexcept : WordProduct<mode>(w, s) {}

  static void prepare() { request_tiles(); }
  constexpr Index strip_size() const noexcept { return amx_rows * amx_depth(depth()); }

  void pack(const float* x, Index ldx, Index valid, float* strip, float* steps) const noexcept {
    this->template pack_blocks<rows>(x, ldx, valid, strip, steps);
  }
  void multiply(Index valid, Index begin, Index count, const float* strip, const float* panel, TileOut<float> out,
                Ahead ahead, WriteAhead y) const noexcept {
    multiply_amx_strip<mode>(valid, count, strip + begin * amx_rows, panel, out, ahead, y);
  }
};
#endif

// What multiplies bf16 pairs and 8-bit fours in this build. vdpbf16ps is twice as fast as multiply-adds of float on Zen
// 4 and later, half as fast on the only Intel processors that have it without tiles, which lack VBMI.
#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
using Bf16Product = AmxProduct<Numeric::bf16>;
using Int8Product = AmxProduct<Numeric::int8>;
#else
#if defined(__AVX512VBMI__)
inline constexpr bool dot_bf16_is_fast = simd::has_dot_bf16;
#else
inline constexpr bool dot_bf16_is_fast = false;
#endif
using Bf16Product = std::conditional_t<dot_bf16_is_fast, WordProduct<Numeric::bf16>, RoundedProduct>;
using Int8Product = WordProduct<Numeric::int8>;
#endif

// Up to here sums of products of two 7-bit magnitudes fit 32 bits; deeper products widen their int8 weights.
inline constexpr Index int8_most_depth = 0x7fffffff / (127 * 127);

// f(product) for the product that `mode` allows of a weight.
template <class T, class F>
constexpr decltype(auto) with_product(const WeightView<T>& w, GemmShape s, [[maybe_unused]] Numeric mode, const F& f) {
  if (w.panels && w.type == Numeric::exact) return f(ExactProduct<T, Numeric::exact>(w, s));
  if constexpr (std::is_same_v<T, float>) {
    if (w.panels && w.type == Numeric::bf16) {
      if (mode == Numeric::exact) return f(ExactProduct<float, Numeric::bf16>(w, s));
      return f(Bf16Product(w, s));
    }
    if (w.panels && mode == Numeric::int8 && s.k <= int8_most_depth) return f(Int8Product(w, s));
  }
  return f(WidenedProduct<T>(w, s));
}

}  // namespace detail
}  // namespace aulos::inline AULOS_ISA::kernels
