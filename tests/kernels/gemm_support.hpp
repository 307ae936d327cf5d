// What the tests of the matrix products share: inputs, guarded outputs, and sums in the promised order.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"
#include "tests/kernels/aligned.hpp"

namespace gemm_support {

using aulos::Index;

template <class T>
std::vector<T> random(Index count, std::uint32_t seed) {
  std::vector<T> x(static_cast<std::size_t>(count));
  for (T& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<T>(seed >> 8) * static_cast<T>(0x1p-23) - static_cast<T>(1);
  }
  return x;
}

// Numbers that bf16 holds exactly.
template <class T>
std::vector<T> random_bf16(Index count, std::uint32_t seed) {
  std::vector<T> x = random<T>(count, seed);
  for (T& v : x) {
    v = static_cast<T>(std::bit_cast<float>(std::bit_cast<std::uint32_t>(static_cast<float>(v)) & 0xffff0000u));
  }
  return x;
}

// The sum over k in the order that the products promise: chunks of 1536, each one fused multiply-add after another.
template <class T>
T ordered_dot(const T* a, Index a_stride, const T* b, Index b_stride, Index k) {
  T sum = 0;
  for (Index begin = 0; begin < k; begin += 1536) {
    T acc = 0;
    for (Index p = begin; p < std::min<Index>(k, begin + 1536); ++p) {
#if defined(__FMA__) || defined(__aarch64__)
      acc = std::fma(a[p * a_stride], b[p * b_stride], acc);
#else
      acc += a[p * a_stride] * b[p * b_stride];
#endif
    }
    sum = begin == 0 ? acc : sum + acc;
  }
  return sum;
}

// A matrix, `offset` elements behind a multiple of 64 bytes, with room around its rows: every element outside of
// [rows, cols] must keep its bits.
template <class T>
class Guarded {
 public:
  Guarded(Index rows, Index cols, Index ld, Index offset = 0, T value = T(0))
      : rows_(rows), cols_(cols), ld_(ld), offset_(offset + 64) {
    data_.assign(static_cast<std::size_t>(offset_ + rows * ld + 70), guard());
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < cols; ++j) at(i, j) = value;
    }
  }

  T* data() { return data_.data() + offset_; }
  Index ld() const { return ld_; }
  T& at(Index i, Index j) { return data()[i * ld_ + j]; }

  // True if nothing outside the matrix was written.
  bool intact() const {
    for (Index p = 0; p < static_cast<Index>(data_.size()); ++p) {
      const Index i = p - offset_;
      const bool inside = i >= 0 && i < rows_ * ld_ && i % ld_ < cols_;
      if (!inside && data_[static_cast<std::size_t>(p)] != guard()) return false;
    }
    return true;
  }

 private:
  static T guard() { return T(-77.25); }

  Index rows_, cols_, ld_, offset_;
  aulos_test::AlignedVector<T> data_;
};

// Numbers that begin `offset` elements behind a multiple of 64 bytes, between NaNs: whoever uses these read too far.
template <class T>
class Shifted {
 public:
  Shifted(const std::vector<T>& values, Index offset) : offset_(offset + 64) {
    data_.assign(static_cast<std::size_t>(offset_) + values.size() + 70, std::numeric_limits<T>::quiet_NaN());
    std::copy(values.begin(), values.end(), data_.begin() + offset_);
  }

  T* data() { return data_.data() + offset_; }
  const T* data() const { return data_.data() + offset_; }
  T& operator[](Index i) { return data()[i]; }
  const T& operator[](Index i) const { return data()[i]; }

 private:
  Index offset_;
  aulos_test::AlignedVector<T> data_;
};

template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// A 64-byte aligned buffer with guard bytes behind it.
class Bytes {
 public:
  explicit Bytes(std::size_t size) : size_(size), storage_(size + 192, 0x5a) {}

  void* data() { return storage_.data() + (64 - reinterpret_cast<std::uintptr_t>(storage_.data()) % 64); }
  bool intact() {
    const auto* end = static_cast<const unsigned char*>(data()) + size_;
    for (int i = 0; i < 64; ++i) {
      if (end[i] != 0x5a) return false;
    }
    return true;
  }

 private:
  std::size_t size_;
  std::vector<unsigned char> storage_;
};

}  // namespace gemm_support
