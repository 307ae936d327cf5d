// What ops that carry a state from call to call share: the pair of the state before and after, views for their kernels.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/kernels/attention_sides.hpp"
#include "aulos/ops/op.hpp"

namespace aulos::inline AULOS_ISA::any {

// Whether an op returns the state that it ends with.
enum class LastState { skip, keep };

// A state that an op starts from and the one that it ends with: the same memory where nobody else holds it.
template <Real T>
struct StatePair {
  AnyTensor<T> from, to;  // empty: absent
  Ghost<T> ghost;         // of `from`

  StatePair(const Op& op, AnyTensor<T> initial, const Dims& dims, LastState last) : ghost(op.ghost(initial)) {
    const bool dense = initial.empty() || initial.dims().dense();
    from = dense ? std::move(initial) : op.dense(initial);
    if (last == LastState::skip) return;
    if (op.recording() || from.empty() || !from.sole()) {
      to = op.empty<T>(dims);
    } else {
      to = from;
      to.set_node(0);
    }
  }
};

// x [B, N, H, width] for a kernel; [B, N, width] as one head, in which case `head` is 0.
template <class T>
kernels::HeadRows<T> token_rows(const AnyTensor<std::remove_const_t<T>>& x) {
  if (x.empty()) return {};
  return {x.mutable_data(), x.stride(0), x.stride(1), x.rank() == 4 ? x.stride(2) : 0};
}

// Throws unless x is absent or has these extents.
template <Real T>
void require_extents(const Op& op, const char* name, const AnyTensor<T>& x, const Dims& expected) {
  op.require(x.empty() || x.dims().same_extents(expected),
             [&] { return std::string(name) + " " + to_string(x.dims()) + ", expected " + to_string(expected); });
}

// A fresh tensor for a gradient that somebody asks for, else an empty one.
template <Real T>
AnyTensor<T> gradient_of(Context& context, const Ghost<T>& x) {
  return x ? context.empty_any<T>(x.dims) : AnyTensor<T>{};
}

}  // namespace aulos::inline AULOS_ISA::any
