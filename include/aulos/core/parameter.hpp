// A parameter: a tensor that a module owns. It belongs to no Context, so a const module may be used from many threads.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "aulos/core/any_tensor.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/pool.hpp"
#include "aulos/core/shape.hpp"
#include "aulos/core/tensor.hpp"

namespace aulos::inline AULOS_ISA {

// A regular type: a copy owns equal elements of its own, a moved-from parameter is absent. A default-constructed one is
// absent too (the bias of a linear without bias). Made from a shape it has no memory until somebody writes to it, so
// that a model of any size can be counted and planned; computing with it before that is an Error.
template <Real T, int Rank>
class Parameter {
 public:
  using value_type = T;
  static constexpr int rank = Rank;

  Parameter() = default;
  explicit Parameter(const Shape<Rank>& shape) : storage_(std::make_unique<Storage>(shape)) {}
  Parameter(const Parameter& other) {
    if (!other.storage_) return;
    storage_ = std::make_unique<Storage>(other.storage_->shape);
    storage_->buffer.trainable = other.storage_->buffer.trainable;
    if (!other.ready()) return;
    storage_->allocate();
    std::memcpy(storage_->buffer.data, other.storage_->buffer.data, storage_->buffer.bytes);
  }
  Parameter(Parameter&&) noexcept = default;
  Parameter& operator=(const Parameter& other) { return *this = Parameter(other); }
  Parameter& operator=(Parameter&&) noexcept = default;
  ~Parameter() = default;

  // Absent or moved from.
  bool empty() const noexcept { return storage_ == nullptr; }
  // Whether it has elements.
  bool ready() const noexcept { return storage_ != nullptr && storage_->buffer.ready; }
  Shape<Rank> shape() const noexcept { return storage_ ? storage_->shape : Shape<Rank>{}; }
  Index extent(int axis) const noexcept { return shape()[axis]; }
  // The shape where it is kept; null where the parameter is absent.
  const Index* extents() const noexcept { return storage_ ? storage_->shape.extents : nullptr; }
  Index count() const noexcept { return storage_ ? storage_->count : 0; }

  // The elements; null before there are any.
  const T* data() const noexcept { return ready() ? storage_->data() : nullptr; }
  // The elements for writing, zero at first.
  T* data() {
    if (!storage_) return nullptr;
    if (!ready()) storage_->allocate();
    return storage_->data();
  }

  // Whether a tape gives it a gradient. On by default.
  bool trainable() const noexcept { return storage_ && storage_->buffer.trainable; }
  void set_trainable(bool trainable) noexcept {
    if (storage_) storage_->buffer.trainable = trainable;
  }

  // The parameter as an uncounted tensor, which it must outlive. Empty where the parameter is absent.
  operator Tensor<T, Rank>() const { return Tensor<T, Rank>(any()); }  // NOLINT(google-explicit-constructor)
  Tensor<T, Rank> tensor() const { return *this; }
  // The same for an op whose arguments are all parameters, which would not know where to compute: in this Context, or
  // in that of x, which the tensor must not outlive.
  //     Tensor<T, 1> lambda = exp(lambda_q.tensor(x));
  Tensor<T, Rank> tensor(Context& context) const { return lent_to(&context); }
  template <Element U, int OtherRank>
  Tensor<T, Rank> tensor(const Tensor<U, OtherRank>& x) const {
    return lent_to(x.any().context());
  }
  AnyTensor<T> any() const {
    if (!storage_) return {};
    return AnyTensor<T>(BufferReference(&storage_->buffer), storage_->data(),
                        dense_dims(storage_->shape.extents, Rank));
  }

  // Equal shapes and equal bits.
  bool operator==(const Parameter& other) const noexcept {
    if (empty() || other.empty()) return empty() == other.empty();
    if (shape() != other.shape() || ready() != other.ready()) return false;
    return !ready() || std::memcmp(data(), other.data(), static_cast<std::size_t>(count()) * sizeof(T)) == 0;
  }

 private:
  Tensor<T, Rank> lent_to(Context* context) const {
    AnyTensor<T> x = any();
    x.lend_to(context);
    return Tensor<T, Rank>(std::move(x));
  }

  struct Storage {
    explicit Storage(const Shape<Rank>& of) : shape(of), count(checked_count(of.extents, Rank, sizeof(T))) {
      buffer.bytes = round_to_buffer(static_cast<std::size_t>(count) * sizeof(T));
      buffer.data = reinterpret_cast<std::byte*>(std::uintptr_t{1} << 53);  // an address that faults
      buffer.ready = false;
    }
    Storage(const Storage&) = delete;
    Storage& operator=(const Storage&) = delete;
    ~Storage() {
      if (buffer.ready) ::operator delete(buffer.data, alignment_of(buffer.bytes));
    }
    void allocate() {
      buffer.data = system_memory(buffer.bytes);
      buffer.ready = true;
      std::memset(buffer.data, 0, buffer.bytes);
    }
    T* data() noexcept { return reinterpret_cast<T*>(buffer.data); }

    Shape<Rank> shape;
    Index count;
    Buffer buffer;
  };

  std::unique_ptr<Storage> storage_;
};

}  // namespace aulos::inline AULOS_ISA
