// The weight of a linear map: rows as the checkpoint has them, or panels packed for the product kernel.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/gemm.hpp"

namespace aulos::inline AULOS_ISA {

// Memory for panels. Throws std::bad_alloc.
inline std::shared_ptr<std::byte> panel_memory(std::size_t bytes) {
  const std::size_t whole = round_to_buffer(bytes);
  return {system_memory(whole), [whole](std::byte* data) { ::operator delete(data, alignment_of(whole)); }};
}

// [out, in] as in PyTorch. Rows alone (training, and after loading) are packed panel by panel right before use; `pack`
// drops the rows for panels of T itself, of bf16 (2 bytes an element) or of int8 (1 byte). How a weight is stored is
// data: a model is of one type either way. In an exact Context its results differ by the rounding of the storage alone;
// Numeric says what a Context may round besides. Panels never change, so copies of a packed weight share them. A packed
// weight has no gradient: on a tape it takes constant inputs only, and tape.gradient(weight) is an Error.
template <Real T>
class Weight {
 public:
  using value_type = T;

  Weight() = default;  // absent
  Weight(Index out, Index in) : rows_(Shape<2>{out, in}), stored_shape_{out, in}, out_(out), in_(in) {}
  // Of a convolution whose kernel is its stride, [C, Cin, p, q]: a linear on patches.
  explicit Weight(const Shape<4>& convolution)
      : Weight(convolution[0], convolution[1] * convolution[2] * convolution[3]) {
    stored_shape_.assign(convolution.begin(), convolution.end());
  }
  // The same in one dimension, [C, Cin, p].
  explicit Weight(const Shape<3>& convolution) : Weight(convolution[0], convolution[1] * convolution[2]) {
    stored_shape_.assign(convolution.begin(), convolution.end());
  }

  bool empty() const noexcept { return rows_.empty() && panels_ == nullptr; }
  Index out() const noexcept { return out_; }
  Index in() const noexcept { return in_; }
  Shape<2> shape() const noexcept { return {out_, in_}; }
  Index count() const noexcept { return out_ * in_; }
  // The shape that checkpoints give it.
  const std::vector<Index>& stored_shape() const noexcept { return stored_shape_; }

  // The rows; empty once packed.
  const Parameter<T, 2>& rows() const noexcept { return rows_; }
  Parameter<T, 2>& rows() noexcept { return rows_; }

  bool packed() const noexcept { return panels_ != nullptr; }
  Numeric stored_as() const noexcept { return stored_as_; }

  // For inference: panels instead of rows. Packing again from other panels goes through the rows.
  void pack(Numeric stored_as = Numeric::exact) {
    if (empty() || (packed() && stored_as_ == stored_as)) return;
    unpack();
    if (!rows_.ready())
      throw Error("pack: the weight " + to_string(shape()) + " has no values yet: load the model first");
    const std::shared_ptr<std::byte> panels = panel_memory(kernels::packed_bytes<T>(out_, in_, stored_as));
    kernels::pack_weight<T>(Threads::serial(), rows_.data(), in_, out_, in_, stored_as, panels.get());
    adopt(stored_as, panels);
  }

  // The same from rows that read(first, count, T* rows [count, in]) gives, some at a time, so that they are never all
  // in memory. What it throws leaves the weight as it is.
  template <class Read>
  void pack(Numeric stored_as, const Read& read) {
    constexpr Index at_once = 1 << 16;  // elements
    const Index step = kernels::panel_rows<T> * (std::max)(Index{1}, at_once / (in_ * kernels::panel_rows<T> + 1));
    const std::shared_ptr<std::byte> panels = panel_memory(kernels::packed_bytes<T>(out_, in_, stored_as));
    const auto rows = std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>((std::min)(step, out_) * in_));
    for (Index first = 0; first < out_; first += step) {
      const Index end = (std::min)(first + step, out_);
      read(first, end - first, rows.get());
      for (Index row = first; row < end; row += kernels::panel_rows<T>) {
        kernels::pack_panel<T>(rows.get() + (row - first) * in_, in_, row / kernels::panel_rows<T>, out_, in_,
                               stored_as, panels.get());
      }
    }
    adopt(stored_as, panels);
  }

  // Takes panels that were packed before, packed_bytes<T>(out, in, stored_as) bytes at a multiple of 64, perhaps in a
  // mapped file.
  void adopt(Numeric stored_as, std::shared_ptr<const std::byte> panels) {
    panels_ = std::move(panels);
    stored_as_ = stored_as;
    rows_ = {};
  }

  // Rows again, with the values that the panels hold.
  void unpack() {
    if (!packed()) return;
    Parameter<T, 2> rows(shape());
    kernels::unpack_weight<T>(Threads::serial(), panels_.get(), stored_as_, out_, in_, rows.data(), in_);
    rows_ = std::move(rows);
    panels_.reset();
  }

  // For kernels.
  kernels::WeightView<T> view() const noexcept { return {rows_.data(), in_, panels_.get(), stored_as_}; }

  // Bytes of storage.
  std::size_t bytes() const noexcept {
    return packed() ? kernels::packed_bytes<T>(out_, in_, stored_as_) : static_cast<std::size_t>(count()) * sizeof(T);
  }

  bool operator==(const Weight& other) const {
    if (shape() != other.shape() || packed() != other.packed()) return false;
    if (!packed()) return rows_ == other.rows_;
    return stored_as_ == other.stored_as_ && std::memcmp(panels_.get(), other.panels_.get(), bytes()) == 0;
  }

 private:
  Parameter<T, 2> rows_;
  std::vector<Index> stored_shape_;
  Index out_ = 0;
  Index in_ = 0;
  Numeric stored_as_ = Numeric::exact;
  std::shared_ptr<const std::byte> panels_;
};

}  // namespace aulos::inline AULOS_ISA
