// One execution of an operation: names its arguments, finds their Context, runs kernels, records the gradient rule.
#pragma once

#include <array>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "aulos/autograd/tape.hpp"
#include "aulos/core/any_tensor.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/function_ref.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/copy.hpp"

namespace aulos::inline AULOS_ISA {

// A non-deduced argument: parameters and {} convert to it.
template <class T>
using Arg = std::type_identity_t<T>;

// An op's argument and its name in error texts.
template <class T>
struct Named {
  const char* name;
  const AnyTensor<T>& tensor;
  bool optional = false;
};

template <class T>
Named<T> arg(const char* name, const AnyTensor<T>& tensor) {
  return {name, tensor, false};
}

// An argument that may be absent (an empty tensor).
template <class T>
Named<T> optional_arg(const char* name, const AnyTensor<T>& tensor) {
  return {name, tensor, true};
}

namespace any {

// The elements, or nullptr where the tensor is empty: how kernels are told that a part is absent.
template <Real T>
T* data_or_null(const AnyTensor<T>& x) {
  return x.empty() ? nullptr : x.mutable_data();
}

}  // namespace any

// Every op is written on it:
//     template <Real T> AnyTensor<T> silu(const AnyTensor<T>& x) {
//       Op op("silu", arg("x", x));
//       ... check shapes with op.require ...
//       const AnyTensor<T> from = op.dense(x);
//       AnyTensor<T> y = op.like(x);
//       op.run({.flops = .., .bytes = ..}, [&](Threads threads) { kernels::silu(threads, from.data(), ...); });
//       if (op.recording())
//         op.record(y, [from, gx = op.ghost(x)](GradTape& tape, AnyTensor<T> gy) { tape.give(gx, ..); });
//       return op.result(std::move(y));
//     }
class Op {
 public:
  // Throws ShapeError where an argument is empty, Error where none belongs to a Context.
  template <class... T>
  explicit Op(const char* name, const Named<T>&... arguments) : Op(name, nullptr, arguments...) {}

  // For an op whose arguments may all be parameters, or none.
  template <class... T>
  Op(Context& context, const char* name, const Named<T>&... arguments) : Op(name, &context, arguments...) {}

  // For an op whose number of arguments is data: visit(f) calls f(Named) for each.
  template <class Visit>
  static Op over(const char* name, const Visit& visit) {
    Op op(name);
    visit([&](const auto& argument) { op.find_context(argument.tensor); });
    visit([&](const auto& argument) { op.check_present(argument); });
    op.begin();
    visit([&](const auto& argument) { op.note(argument); });
    return op;
  }

  Context& context() const noexcept { return *context_; }
  // Whether somebody asks for a gradient that flows through here.
  bool recording() const noexcept { return tape_ != nullptr; }

  // Throws ShapeError "scope: op: message()" unless the condition holds.
  void require(bool condition, FunctionRef<std::string()> message) const {
    if (!condition) [[unlikely]]
      refuse(message);
  }

  // A fresh tensor: of these extents, or of another tensor's.
  template <Real T>
  AnyTensor<T> empty(const Dims& extents) const {
    return context_->empty_any<T>(extents);
  }
  template <Real T>
  AnyTensor<T> like(const AnyTensor<T>& x) const {
    return context_->empty_any<T>(x.dims());
  }
  // x itself to write the result into when nobody else can see its memory, else a fresh tensor.
  template <Real T>
  AnyTensor<T> reuse(AnyTensor<T>&& x) const {
    if (!x.sole()) return like(x);
    x.set_node(0);
    return std::move(x);
  }

  // x, or a dense copy of it, which the profile shows. The copy is no node of the tape: take ghosts from x.
  template <Element T>
  [[gnu::noinline]] AnyTensor<T> dense(const AnyTensor<T>& x) const {
    if (x.empty() || x.dims().dense()) return x;
    AnyTensor<T> y = context_->empty_any<T>(x.dims());
    context_->run("copy", {.bytes = 2.0 * sizeof(T) * static_cast<double>(x.count())},
                  [&](Threads threads) { kernels::copy(threads, x.data(), x.dims(), y.mutable_data(), y.dims()); });
    return y;
  }

  void run(const Cost& cost, FunctionRef<void(Threads)> kernel) const { context_->run(name_, cost, kernel); }

  // What a rule keeps of a tensor whose elements it does not need.
  template <Real T>
  Ghost<T> ghost(const AnyTensor<T>& x) const {
    return tape_ != nullptr ? tape_->ghost(x) : Ghost<T>{};
  }

  // Records rule(GradTape&, AnyTensor<T> gy) for y, the whole of its buffer. The rule runs only when a gradient flowed
  // into y; gy is dense. Call it inside `if (op.recording())`, so that nothing is captured without a tape.
  template <Real T, class Rule>
  void record(AnyTensor<T>& y, Rule&& rule) const {
    tape_->record(y, [rule = std::forward<Rule>(rule), dims = y.dims()](GradTape& tape, Node node) mutable {
      AnyTensor<T> gy = tape.take_gradient(Ghost<T>{node, 0, dims});
      if (!gy.empty()) rule(tape, std::move(gy));
    });
  }

  // For several results: rule(GradTape&, std::span<AnyTensor<T>> gradients), those that got none being empty.
  template <Real T, std::size_t Count, class Rule>
  void record(const std::array<AnyTensor<T>*, Count>& results, Rule&& rule) const {
    std::array<Dims, Count> dims;
    for (std::size_t i = 0; i < Count; ++i) dims[i] = results[i]->dims();
    tape_->record(std::span<AnyTensor<T>* const>(results),
                  [rule = std::forward<Rule>(rule), dims](GradTape& tape, Node first) mutable {
                    std::array<AnyTensor<T>, Count> gradients;
                    bool any = false;
                    for (std::size_t i = 0; i < Count; ++i) {
                      gradients[i] = tape.take_gradient(Ghost<T>{first + i, 0, dims[i]});
                      any = any || !gradients[i].empty();
                    }
                    if (any) rule(tape, std::span<AnyTensor<T>>(gradients));
                  });
  }

  // The last thing an op does.
  template <Real T>
  AnyTensor<T> result(AnyTensor<T> y) const {
    if (context_->capturing()) context_->capture(name_, nullptr, y);
    return y;
  }

 private:
  explicit Op(const char* name) : name_(name) {}

  template <class... T>
  Op(const char* name, Context* context, const Named<T>&... arguments) : name_(name), context_(context) {
    (find_context(arguments.tensor), ...);
    (check_present(arguments), ...);
    begin();
    (note(arguments), ...);
  }

  template <class T>
  void find_context(const AnyTensor<T>& x) noexcept {
    if (context_ == nullptr && !x.empty()) context_ = x.context();
  }

  [[noreturn, gnu::noinline, gnu::cold]] void refuse(FunctionRef<std::string()> message) const {
    throw ShapeError(where() + message());
  }

  template <class T>
  [[gnu::noinline]] void check_present(const Named<T>& argument) const {
    if (!argument.optional && argument.tensor.empty()) [[unlikely]]
      throw ShapeError(where() + argument.name + " is empty (moved from?)");
    if (!argument.tensor.empty() && !argument.tensor.buffer()->ready && context_ != nullptr && !context_->dry())
        [[unlikely]]
      throw Error(where() + argument.name + " " + to_string(argument.tensor.dims()) +
                  " has no values yet: load or initialise the model first");
  }

  [[gnu::noinline]] void begin() const {
    if (context_ == nullptr) [[unlikely]]
      throw Error(std::string(name_) +
                  ": no argument belongs to a Context (or its Context is gone); where all are parameters, write "
                  "p.tensor(context), or p.tensor(x) for the Context of x");
  }

  template <class T>
  [[gnu::noinline]] void note(const Named<T>& argument) {
    if (tape_ == nullptr) {
      GradTape* tape = context_->tape();
      if (tape != nullptr && tape->recording() && wants_gradient(*tape, argument.tensor)) tape_ = tape;
    }
    if (context_->capturing()) capture_argument(argument);
  }

  template <class T>
  static bool wants_gradient(const GradTape& tape, const AnyTensor<T>& x) {
    if constexpr (Real<T>)
      return static_cast<bool>(tape.ghost(x));
    else
      return false;
  }

  template <class T>
  void capture_argument(const Named<T>& argument) const {
    if constexpr (Real<T>)
      if (!argument.tensor.empty()) context_->capture(name_, argument.name, argument.tensor);
  }

  std::string where() const {
    std::string scope = context_ != nullptr ? context_->scopes().text() : std::string();
    return (scope.empty() ? "" : scope + ": ") + name_ + ": ";
  }

  const char* name_;
  Context* context_ = nullptr;
  GradTape* tape_ = nullptr;
};

}  // namespace aulos::inline AULOS_ISA
