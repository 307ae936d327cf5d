// Eigen at the border, without including it: forward declarations, the maps a tensor gives, and what counts as an
// Eigen tensor expression. Whoever calls these has included the Eigen header that defines the types.
#pragma once

#include <cstddef>
#include <type_traits>

#include "aulos/core/config.hpp"

namespace Eigen {
template <class Derived, int AccessLevel>
class TensorBase;
template <class Scalar, int NumIndices, int Options, class IndexType>
class Tensor;
template <class T>
struct MakePointer;
template <class PlainObject, int Options, template <class> class MakePointer_>
class TensorMap;
template <class Scalar, int Rows, int Cols, int Options, int MaxRows, int MaxCols>
class Matrix;
template <int Outer, int Inner>
class Stride;
template <class PlainObject, int Options, class StrideType>
class Map;
template <class Derived, class Device>
struct TensorEvaluator;
struct DefaultDevice;
namespace internal {
template <class T>
struct traits;
}
}  // namespace Eigen

namespace aulos::inline AULOS_ISA {

template <class T, int Rank>
using EigenTensor = Eigen::Tensor<T, Rank, 1, Index>;  // 1: row-major

template <class T, int Rank>
using EigenTensorMap = Eigen::TensorMap<EigenTensor<T, Rank>, 0, Eigen::MakePointer>;

template <class T>
using EigenMatrixMap = Eigen::Map<Eigen::Matrix<T, -1, -1, 1, -1, -1>, 0, Eigen::Stride<0, 0>>;

template <class T, int Rank>
EigenTensorMap<T, Rank> eigen_tensor_map(T* data, const Index* extents) {
  typename EigenTensorMap<T, Rank>::Dimensions dims;
  for (int axis = 0; axis < Rank; ++axis) dims[static_cast<std::size_t>(axis)] = extents[axis];
  return EigenTensorMap<T, Rank>(data, dims);
}

template <class T>
EigenMatrixMap<T> eigen_matrix_map(T* data, Index rows, Index columns) {
  return EigenMatrixMap<T>(data, rows, columns);
}

template <class Derived, int AccessLevel>
std::true_type eigen_tensor_test(const Eigen::TensorBase<Derived, AccessLevel>*);
std::false_type eigen_tensor_test(...);

// An Eigen tensor, map or tensor expression.
template <class E>
concept EigenTensorExpression = decltype(eigen_tensor_test(static_cast<const std::remove_cvref_t<E>*>(nullptr)))::value;

// Evaluates an Eigen tensor expression of either layout into row-major memory: place(extents) says where; null, in a
// plan, means nowhere.
template <class T, int Rank, class E, class Place, class Device = Eigen::DefaultDevice>
void evaluate_eigen(const E& expression, Place&& place) {
  using Traits = Eigen::internal::traits<E>;
  constexpr bool same_rank = Traits::NumDimensions == Rank;
  constexpr bool same_type = std::is_same_v<std::remove_const_t<typename Traits::Scalar>, T>;
  static_assert(same_rank, "the Eigen tensor has another rank than the aulos tensor it becomes");
  static_assert(same_type, "the Eigen tensor has another scalar type; use .template cast<T>()");
  if constexpr (same_rank && same_type) {  // no further errors
    const Device device{};
    const Eigen::TensorEvaluator<const E, Device> evaluator(expression, device);
    Index extents[static_cast<std::size_t>(Rank)];
    for (int axis = 0; axis < Rank; ++axis)
      extents[axis] = static_cast<Index>(evaluator.dimensions()[static_cast<std::size_t>(axis)]);
    T* out = place(static_cast<const Index*>(extents));
    if (out == nullptr) return;
    auto map = eigen_tensor_map<T, Rank>(out, extents);
    if constexpr (Traits::Layout == 1) {
      map = expression;
    } else {  // column-major: the same elements under reversed axes
      typename EigenTensorMap<int, Rank>::Dimensions reversed;
      for (int axis = 0; axis < Rank; ++axis) reversed[static_cast<std::size_t>(axis)] = Rank - 1 - axis;
      map = expression.swap_layout().shuffle(reversed);
    }
  }
}

}  // namespace aulos::inline AULOS_ISA
