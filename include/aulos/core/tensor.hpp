// Tensors: cheap handles on pool memory, row-major, the last axis contiguous, leading axes with any strides.
#pragma once

#include <string>
#include <utility>

#include "aulos/core/any_tensor.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/eigen.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/shape.hpp"
#include "aulos/core/text.hpp"

namespace aulos::inline AULOS_ISA {

// A handle on elements of T with `Rank` axes. Copying shares the elements; slices, head splits, permutations of leading
// axes and reshapes are views of them, without copying, and a gradient of a view is the same view of the gradient.
// A Tensor belongs to the thread of its Context; one made from a parameter counts nothing and may be shared.
template <Element T, int Rank>
class Tensor {
  static_assert(Rank >= 1 && Rank <= max_rank, "a Tensor has 1 to 8 axes");

 public:
  using value_type = T;
  static constexpr int rank = Rank;

  Tensor() = default;
  // `any` must have this rank; ops and parameters make tensors so.
  explicit Tensor(AnyTensor<T> any) : any_(std::move(any)) {
    if (!any_.empty() && any_.rank() != Rank)
      throw ShapeError(concat_text({"a tensor ", any_.dims(), " has ", any_.rank(), " axes, expected ", Rank}));
  }

  // Default-constructed or moved from.
  bool empty() const noexcept { return any_.empty(); }
  Index extent(int axis) const noexcept { return any_.extent(axis); }
  Index stride(int axis) const noexcept { return any_.stride(axis); }
  Index count() const noexcept { return empty() ? 0 : any_.count(); }
  Shape<Rank> shape() const noexcept {
    Shape<Rank> shape{};
    for (int axis = 0; axis < Rank; ++axis) shape[axis] = any_.extent(axis);
    return shape;
  }
  bool dense() const noexcept { return any_.dims().dense(); }

  // The elements, row-major with strides. Throws where a plan has none.
  const T* data() const { return any_.data(); }
  T* mutable_data() const { return any_.mutable_data(); }

  const AnyTensor<T>& any() const& noexcept { return any_; }
  AnyTensor<T> any() && noexcept { return std::move(any_); }

  // Element at the given indices; for tests and small reads.
  template <class... Indices>
  requires(sizeof...(Indices) == Rank) T operator()(Indices... indices) const {
    const Index at[] = {static_cast<Index>(indices)...};
    Index offset = 0;
    for (int axis = 0; axis < Rank; ++axis) offset += at[axis] * any_.stride(axis);
    return data()[offset];
  }

  // Elements [begin, end) of an axis.
  Tensor slice(int axis, Index begin, Index end) const {
    check_axis("slice", axis);
    if (begin < 0 || end < begin || end > extent(axis))
      throw ShapeError(concat_text({"slice: [", begin, ", ", end, ") of axis ", axis, " of ", any_.dims()}));
    Dims dims = any_.dims();
    dims.extent[axis] = end - begin;
    return Tensor(any_.view(dims, begin * dims.stride[axis]));
  }

  // Element `index` of a leading axis, which goes away: [B, N, C] -> select(0, b) -> [N, C].
  Tensor<T, Rank - 1> select(int axis, Index index) const requires(Rank > 1) {
    check_axis("select", axis);
    if (axis == Rank - 1) throw ShapeError(concat_text({"select: the last axis of ", any_.dims(), " must stay"}));
    if (index < 0 || index >= extent(axis))
      throw ShapeError(concat_text({"select: index ", index, " of axis ", axis, " of ", any_.dims()}));
    Dims dims;
    for (int from = 0; from < Rank; ++from)
      if (from != axis) append(dims, extent(from), stride(from));
    return Tensor<T, Rank - 1>(any_.view(dims, index * stride(axis)));
  }

  // A new axis of extent 1 in front of `axis` (0 .. Rank - 1).
  Tensor<T, Rank + 1> unsqueeze(int axis) const requires(Rank < max_rank) {
    check_axis("unsqueeze", axis);
    Dims dims;
    for (int from = 0; from < Rank; ++from) {
      if (from == axis) append(dims, 1, 0);
      append(dims, extent(from), stride(from));
    }
    return Tensor<T, Rank + 1>(any_.view(dims));
  }

  // Axes of extent 1 repeated without copying (stride 0).
  Tensor broadcast(const Shape<Rank>& shape) const {
    check_present("broadcast");
    Dims dims = any_.dims();
    for (int axis = 0; axis < Rank; ++axis) {
      if (dims.extent[axis] == shape[axis]) continue;
      if (dims.extent[axis] != 1 || (axis == Rank - 1 && shape[axis] != 1))
        throw ShapeError(concat_text({"broadcast: ", any_.dims(), " to ", shape}));
      dims.extent[axis] = shape[axis];
      dims.stride[axis] = 0;
    }
    return Tensor(any_.view(dims));
  }

  // Axis i of the result is axis order[i]; the last axis must stay (the op `permute` moves it, with a copy).
  Tensor permute_leading(const Shape<Rank>& order) const {
    check_present("permute_leading");
    Dims dims;
    bool seen[static_cast<std::size_t>(Rank)] = {};
    for (int axis = 0; axis < Rank; ++axis) {
      const Index from = order[axis];
      if (from < 0 || from >= Rank || seen[from] || (axis == Rank - 1 && from != axis))
        throw ShapeError(concat_text({"permute_leading: order ", order, " of ", any_.dims()}));
      seen[from] = true;
      append(dims, extent(static_cast<int>(from)), stride(static_cast<int>(from)));
    }
    return Tensor(any_.view(dims));
  }

  // The last axis in groups: [B, N, H * D] -> split_last(H) -> [B, N, H, D].
  Tensor<T, Rank + 1> split_last(Index groups) const requires(Rank < max_rank) {
    check_present("split_last");
    const Index last = extent(Rank - 1);
    if (groups < 1 || last % groups != 0)
      throw ShapeError(concat_text({"split_last: ", any_.dims(), " into ", groups, " groups"}));
    Dims dims;
    for (int axis = 0; axis + 1 < Rank; ++axis) append(dims, extent(axis), stride(axis));
    append(dims, groups, last / groups);
    append(dims, last / groups, 1);
    return Tensor<T, Rank + 1>(any_.view(dims));
  }

  // Other extents over the same elements. Throws ShapeError where the strides do not allow a view (make it dense
  // first).
  template <int To>
  Tensor<T, To> reshape(const Shape<To>& shape) const {
    check_present("reshape");
    Dims dims = dense_dims(shape.extents, To);
    if (checked_count(shape.extents, To, sizeof(T)) != count())
      throw ShapeError(
          concat_text({"reshape: ", any_.dims(), " to ", shape, ": ", count(), " elements, not ", dims.count()}));
    if (!any_.dims().dense() && !regroup(any_.dims(), dims))
      throw ShapeError(concat_text(
          {"reshape: the strides of ", any_.dims(), " do not allow a view of ", shape, "; make it dense first"}));
    return Tensor<T, To>(any_.view(dims));
  }

  // As Eigen sees it: a TensorMap and, all leading axes as rows, a Map of a row-major matrix. Dense tensors only; the
  // Eigen header that has the type must be included. Not for temporaries: the map would outlive the elements.
  auto eigen() const& { return eigen_tensor_map<T, Rank>(dense_data("eigen"), shape().extents); }
  auto matrix() const& {
    T* data = dense_data("matrix");  // refuses an empty tensor, which has no last axis
    return eigen_matrix_map<T>(data, count() == 0 ? 0 : any_.rows(), any_.last());
  }
  auto eigen() && = delete;
  auto matrix() && = delete;

 private:
  static void append(Dims& dims, Index extent, Index stride) noexcept {
    dims.extent[dims.rank] = extent;
    dims.stride[dims.rank++] = stride;
  }

  void check_present(const char* what) const {
    if (empty()) throw ShapeError(std::string(what) + ": the tensor is empty (moved from?)");
  }

  void check_axis(const char* what, int axis) const {
    check_present(what);
    if (axis < 0 || axis >= Rank) throw ShapeError(concat_text({what, ": axis ", axis, " of ", any_.dims()}));
  }

  T* dense_data(const char* what) const {
    check_present(what);
    if (!dense()) throw ShapeError(concat_text({what, ": a view ", any_.dims(), " with gaps; make it dense first"}));
    return any_.mutable_data();
  }

  // Finds strides for `to` over the elements of `from`, axis group by axis group. False where there are none.
  static bool regroup(const Dims& from, Dims& to) noexcept {
    int i = 0;
    int j = 0;
    while (i < from.rank && j < to.rank) {
      int i_end = i + 1;
      int j_end = j + 1;
      Index a = from.extent[i];
      Index b = to.extent[j];
      while (a != b) {
        if (a < b) {
          if (i_end == from.rank) return false;
          a *= from.extent[i_end++];
        } else {
          if (j_end == to.rank) return false;
          b *= to.extent[j_end++];
        }
      }
      for (int axis = i; axis + 1 < i_end; ++axis)
        if (from.extent[axis] != 1 && from.stride[axis] != from.stride[axis + 1] * from.extent[axis + 1]) return false;
      Index step = from.stride[i_end - 1];
      for (int axis = j_end - 1; axis >= j; --axis) {
        to.stride[axis] = step;
        step *= to.extent[axis];
      }
      i = i_end;
      j = j_end;
    }
    for (; j < to.rank; ++j) to.stride[j] = 1;  // what is left has extent 1
    return to.extent[to.rank - 1] == 1 || to.stride[to.rank - 1] == 1;
  }

  AnyTensor<T> any_;
};

}  // namespace aulos::inline AULOS_ISA
