// The weight of a linear map: rows as the checkpoint has them, or panels packed for the product kernel.
#pragma once

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

// [out, in] as in PyTorch. Rows alone (training, and after loading) are packed panel by panel right before use; `pack`
// drops the rows for panels, of T itself or of bf16, which halves the memory. How a weight is stored is data: a model
// is of one type either way, and its results differ by the rounding of the storage alone. A packed weight has no
// gradient: on a tape it takes constant inputs only, and tape.gradient(weight) is an Error.
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
  Weight(const Weight& other)
      : rows_(other.rows_),
        stored_shape_(other.stored_shape_),
        out_(other.out_),
        in_(other.in_),
        type_(other.type_),
        panels_(copy(other)) {}
  Weight(Weight&&) noexcept = default;
  Weight& operator=(const Weight& other) { return *this = Weight(other); }
  Weight& operator=(Weight&&) noexcept = default;
  ~Weight() = default;

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
  kernels::PanelType panel_type() const noexcept { return type_; }

  // For inference: panels instead of rows. Packing again from other panels goes through the rows.
  void pack(kernels::PanelType type = kernels::PanelType::same) {
    if (empty() || (packed() && type_ == type)) return;
    unpack();
    if (!rows_.ready())
      throw Error("pack: the weight " + to_string(shape()) + " has no values yet: load the model first");
    Panels panels = allocate(kernels::packed_bytes<T>(out_, in_, type));
    kernels::pack_weight<T>(Threads::serial(), rows_.data(), in_, out_, in_, type, panels.get());
    panels_ = std::move(panels);
    type_ = type;
    rows_ = {};
  }

  // Rows again, with the values that the panels hold.
  void unpack() {
    if (!packed()) return;
    Parameter<T, 2> rows(shape());
    kernels::unpack_weight<T>(Threads::serial(), panels_.get(), type_, out_, in_, rows.data(), in_);
    rows_ = std::move(rows);
    panels_ = {};
  }

  // For kernels.
  kernels::WeightView<T> view() const noexcept { return {rows_.data(), in_, panels_.get(), type_}; }

  // Bytes of storage.
  std::size_t bytes() const noexcept {
    return packed() ? kernels::packed_bytes<T>(out_, in_, type_) : static_cast<std::size_t>(count()) * sizeof(T);
  }

  bool operator==(const Weight& other) const {
    if (shape() != other.shape() || packed() != other.packed()) return false;
    if (!packed()) return rows_ == other.rows_;
    return type_ == other.type_ && std::memcmp(panels_.get(), other.panels_.get(), bytes()) == 0;
  }

 private:
  struct Free {
    void operator()(std::byte* data) const noexcept { ::operator delete (data, std::align_val_t{buffer_alignment}); }
  };
  using Panels = std::unique_ptr<std::byte, Free>;

  static Panels allocate(std::size_t bytes) {
    return Panels(system_memory(round_to_buffer(bytes), std::align_val_t{buffer_alignment}));
  }
  static Panels copy(const Weight& other) {
    if (!other.packed()) return {};
    Panels panels = allocate(other.bytes());
    std::memcpy(panels.get(), other.panels_.get(), other.bytes());
    return panels;
  }

  Parameter<T, 2> rows_;
  std::vector<Index> stored_shape_;
  Index out_ = 0;
  Index in_ = 0;
  kernels::PanelType type_ = kernels::PanelType::same;
  Panels panels_;
};

}  // namespace aulos::inline AULOS_ISA
