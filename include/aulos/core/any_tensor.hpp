// A tensor whose rank is data: what ops compute with, so that their code is compiled once for all ranks.
#pragma once

#include <type_traits>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/pool.hpp"
#include "aulos/core/shape.hpp"

namespace aulos::inline AULOS_ISA {

// What a tensor may hold: float and double are computed with, integers are indices, labels and masks.
template <class T>
concept Element = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int64_t> ||
    std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::uint8_t>;

// What ops compute with.
template <class T>
concept Real = std::is_same_v<T, float> || std::is_same_v<T, double>;

// The number under which a tape knows a tensor and all its views; 0 is none. Numbers are never used twice.
using Node = std::uint64_t;

namespace detail {

// Out of line: every kernel's call asks for elements.
[[noreturn, gnu::noinline, gnu::cold]] inline void refuse_elements(const Dims& dims, bool planned) {
  if (planned) throw Error("a planned tensor " + to_string(dims) + " has no elements");
  throw Error("a parameter " + to_string(dims) + " has no values yet: load or initialise the model first");
}

}  // namespace detail

template <Element T>
class AnyTensor {
 public:
  AnyTensor() = default;
  AnyTensor(BufferReference buffer, T* data, const Dims& dims, Node node = 0) noexcept
      : buffer_(std::move(buffer)), data_(data), dims_(dims), node_(node) {}
  AnyTensor(const AnyTensor&) = default;
  AnyTensor& operator=(const AnyTensor&) = default;
  AnyTensor(AnyTensor&& other) noexcept
      : buffer_(std::move(other.buffer_)),
        data_(std::exchange(other.data_, nullptr)),
        dims_(other.dims_),
        node_(other.node_),
        context_(other.context_) {}
  AnyTensor& operator=(AnyTensor&& other) noexcept {
    buffer_ = std::move(other.buffer_);
    data_ = std::exchange(other.data_, nullptr);
    dims_ = other.dims_;
    node_ = other.node_;
    context_ = other.context_;
    return *this;
  }
  ~AnyTensor() = default;

  // Default-constructed or moved from.
  bool empty() const noexcept { return data_ == nullptr; }
  const Dims& dims() const noexcept { return dims_; }
  int rank() const noexcept { return dims_.rank; }
  Index extent(int axis) const noexcept { return dims_.extent[axis]; }
  Index stride(int axis) const noexcept { return dims_.stride[axis]; }
  Index count() const noexcept { return dims_.count(); }
  Index rows() const noexcept { return dims_.rows(); }
  Index last() const noexcept { return dims_.last(); }

  Buffer* buffer() const noexcept { return buffer_.get(); }
  const BufferReference& reference() const noexcept { return buffer_; }
  // That of the pool; of a parameter's memory, which has none, the one that it was lent to.
  Context* context() const noexcept {
    return buffer_ && buffer_->pool != nullptr ? buffer_->pool->context() : context_;
  }
  void lend_to(Context* context) noexcept { context_ = context; }
  Node node() const noexcept { return node_; }
  void set_node(Node node) noexcept { node_ = node; }

  // The elements. Throws where there are none: in a plan, in a parameter before it is loaded.
  const T* data() const { return checked(); }
  // For whoever has just made this tensor or holds it alone.
  T* mutable_data() const { return checked(); }
  // Elements between the start of the buffer and this view.
  Index offset() const noexcept { return data_ - reinterpret_cast<T*>(buffer_->data); }

  // Whether this is the whole of its buffer, dense.
  bool whole() const noexcept {
    return buffer_ && reinterpret_cast<std::byte*>(data_) == buffer_->data && dims_.dense() &&
           round_to_buffer(static_cast<std::size_t>(dims_.count()) * sizeof(T)) == buffer_->bytes;
  }
  // Whether nobody else can see this memory and it is the whole of its buffer: an op may write its result here.
  bool sole() const noexcept { return whole() && buffer_->pool != nullptr && buffer_->references == 1; }

  // The same memory with other dims, `offset` elements further on.
  AnyTensor view(const Dims& dims, Index offset = 0) const& { return AnyTensor(*this).view(dims, offset); }
  AnyTensor view(const Dims& dims, Index offset = 0) && {
    dims_ = dims;
    data_ += offset;
    return std::move(*this);
  }

 private:
  T* checked() const {
    if (buffer_ && (!buffer_->ready || (buffer_->pool != nullptr && buffer_->pool->dry()))) [[unlikely]] {
      detail::refuse_elements(dims_, buffer_->pool != nullptr && buffer_->pool->dry());
    }
    return data_;
  }

  BufferReference buffer_;
  T* data_ = nullptr;
  Dims dims_;
  Node node_ = 0;
  Context* context_ = nullptr;
};

}  // namespace aulos::inline AULOS_ISA
