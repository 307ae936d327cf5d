// Sweeps over row lengths and misalignments, and matrices whose surroundings are watched.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "aulos/kernels/rows.hpp"
#include "tests/kernels/aligned.hpp"

namespace aulos_test {

using aulos::Index;

// Calls body(length, misalignment) for lengths around the batch width and three misalignments in elements.
template <class T, class Body>
void sweep(Body body) {
  for (Index length = 0; length <= 2 * aulos::simd::lanes<T> + 1; ++length) {
    for (const Index misalignment : {0, 1, 3}) {
      SCOPED_TRACE(::testing::Message() << "length " << length << ", misalignment " << misalignment);
      body(length, misalignment);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

// A number in [-1, 1) from a position, the same on every machine.
inline double noise(std::uint64_t seed, std::uint64_t position) {
  std::uint64_t z = seed * 0x9E3779B97F4A7C15u + position * 0xBF58476D1CE4E5B9u + 0x94D049BB133111EBu;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
}

// rows x columns with a gap of 3 behind each row, inside guards: what lies between is checked when it is destroyed.
template <class T>
class Matrix {
 public:
  static constexpr Index gap = 3;

  Matrix(Index rows, Index columns, Index misalignment = 0)
      : rows_(rows),
        columns_(columns),
        first_(16 + misalignment),
        data_(static_cast<std::size_t>(first_ + rows * (columns + gap) + 16), guard) {}
  Matrix(const Matrix&) = default;
  ~Matrix() {
    for (Index i = 0; i < static_cast<Index>(data_.size()); ++i) {
      const Index place = i - first_;
      const bool inside = place >= 0 && place < rows_ * stride() && place % stride() < columns_;
      if (!inside && data_[static_cast<std::size_t>(i)] != guard) {
        ADD_FAILURE() << "element " << place << " outside of the rows was written";
        return;
      }
    }
  }

  static Matrix random(std::uint64_t seed, Index rows, Index columns, Index misalignment = 0, double scale = 2,
                       double offset = 0) {
    Matrix m(rows, columns, misalignment);
    m.fill([&](Index r, Index c) { return offset + scale * noise(seed, static_cast<std::uint64_t>(r * 1009 + c)); });
    return m;
  }

  template <class F>
  void fill(F f) {
    for (Index r = 0; r < rows_; ++r) {
      for (Index c = 0; c < columns_; ++c) at(r, c) = static_cast<T>(f(r, c));
    }
  }

  T& at(Index r, Index c) { return data_[static_cast<std::size_t>(first_ + r * stride() + c)]; }
  T at(Index r, Index c) const { return data_[static_cast<std::size_t>(first_ + r * stride() + c)]; }
  Index rows() const { return rows_; }
  Index columns() const { return columns_; }
  Index stride() const { return columns_ + gap; }

  aulos::kernels::Rows<T> view() { return {data_.data() + first_, stride()}; }
  aulos::kernels::Rows<const T> view() const { return {data_.data() + first_, stride()}; }
  aulos::kernels::SharedRows<T> shared(Index rows_per) { return {data_.data() + first_, stride(), rows_per}; }
  aulos::kernels::SharedRows<const T> shared(Index rows_per) const {
    return {data_.data() + first_, stride(), rows_per};
  }
  const T* row(Index r) const { return data_.data() + first_ + r * stride(); }
  T* row(Index r) { return data_.data() + first_ + r * stride(); }

 private:
  static constexpr T guard = T(-12345.5);
  Index rows_, columns_, first_;
  AlignedVector<T> data_;
};

// |got - want| <= tolerance * max(1, largest |want|), in eps of T; non-finite values must stand in the same places.
template <class T, class Want>
void expect_close(const Matrix<T>& got, Want want, double tolerance) {
  double largest = 1;
  for (Index r = 0; r < got.rows(); ++r) {
    for (Index c = 0; c < got.columns(); ++c) {
      const double w = static_cast<double>(want(r, c));
      if (std::isfinite(w)) largest = std::max(largest, std::fabs(w));
    }
  }
  const double bound = tolerance * static_cast<double>(std::numeric_limits<T>::epsilon()) * largest;
  for (Index r = 0; r < got.rows(); ++r) {
    for (Index c = 0; c < got.columns(); ++c) {
      const double g = static_cast<double>(got.at(r, c)), w = static_cast<double>(want(r, c));
      if (std::isnan(w)) {
        ASSERT_TRUE(std::isnan(g)) << "row " << r << " column " << c << ": " << g << " instead of NaN";
      } else if (std::isinf(w)) {
        ASSERT_EQ(g, w) << "row " << r << " column " << c;
      } else {
        ASSERT_LE(std::fabs(g - w), bound) << "row " << r << " column " << c << ": " << g << " instead of " << w;
      }
    }
  }
}

template <class T>
void expect_close(const Matrix<T>& got, const Matrix<T>& want, double tolerance) {
  expect_close(
      got, [&](Index r, Index c) { return want.at(r, c); }, tolerance);
}

template <class T>
void expect_same_bits(const Matrix<T>& a, const Matrix<T>& b) {
  for (Index r = 0; r < a.rows(); ++r) {
    ASSERT_EQ(std::memcmp(a.row(r), b.row(r), static_cast<std::size_t>(a.columns()) * sizeof(T)), 0) << "row " << r;
  }
}

}  // namespace aulos_test
