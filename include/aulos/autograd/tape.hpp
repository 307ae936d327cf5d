// The gradient tape: ops record closures on it, backward runs them in reverse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/autograd/closure_arena.hpp"
#include "aulos/core/any_tensor.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/core/text.hpp"
#include "aulos/kernels/copy.hpp"

namespace aulos::inline AULOS_ISA {

// A tensor as a rule remembers it when its elements are not needed: which node, and which view of it.
template <Real T>
struct Ghost {
  Node node = 0;  // 0: nobody asks for this gradient
  Index offset = 0;
  Dims dims;
  explicit operator bool() const noexcept { return node != 0; }
};

// Where a kernel leaves the gradient of a tensor.
enum class GradientSum {
  fresh,  // nothing is there yet, not even zeros
  to_add_to
};
template <Real T>
struct GradientPlace {
  AnyTensor<T> tensor;
  GradientSum sum;
};

// A tensor and what the loss counts it with: the loss is the sum of y * cotangent.
template <Real T>
struct Seed {
  AnyTensor<T> y;
  AnyTensor<T> cotangent;
};

// Whether the gradients of parameters start anew with a backward pass or add to those of the passes before it.
enum class Accumulate { restart, add };

// Records what the ops of a Context do, from its construction to its end. Gradients live in the tape, keyed by
// parameter, so that modules stay const:
//     GradTape tape(context);
//     tape.backward(mse_loss(model(x), target));
//     tape.gradient(model.fc1.bias);
class GradTape {
 public:
  explicit GradTape(Context& context) : context_(context) {
    if (context.tape() != nullptr) throw Error("GradTape: the Context has a tape already");
    context.set_tape(this);
  }
  GradTape(const GradTape&) = delete;
  GradTape& operator=(const GradTape&) = delete;
  ~GradTape() {
    entries_.clear();
    context_.set_tape(nullptr);
  }

  Context& context() const noexcept { return context_; }

  // Asks for the gradient of an input. The handle gets the node: use it, not copies made before. After a backward pass
  // the next recorded op begins a new round, in which inputs are to be watched again.
  template <Real T, int Rank>
  void watch(Tensor<T, Rank>& x) {
    AnyTensor<T> any = x.any();
    watch(any);
    x = Tensor<T, Rank>(std::move(any));
  }
  template <Real T>
  void watch(AnyTensor<T>& x) {
    if (x.empty()) throw ShapeError("watch: x is empty (moved from?)");
    if (x.buffer()->pool == nullptr) throw Error("watch: a parameter has a gradient without being watched");
    x.set_node(new_node(x.buffer()->bytes, x.buffer()->bytes, Keep::yes));
  }

  // Differentiates a loss of one element with respect to every trainable parameter and watched input.
  template <Real T, int Rank>
  void backward(const Tensor<T, Rank>& loss, Accumulate accumulate = Accumulate::restart) {
    if (loss.count() != 1)
      throw ShapeError("backward: the loss is " + (loss.empty() ? "empty" : to_string(loss.any().dims())) +
                       ", expected one element");
    AnyTensor<T> one = context_.empty_any<T>(loss.any().dims());
    context_.run("seed", {}, [&](Threads) { *one.mutable_data() = T{1}; });
    const Seed<T> seed{loss.any(), std::move(one)};
    backward(std::span<const Seed<T>>(&seed, 1), accumulate);
  }

  // The same for the loss sum over seeds of sum(y * cotangent).
  template <Real T>
  void backward(std::span<const Seed<T>> seeds, Accumulate accumulate = Accumulate::restart) {
    for (const Seed<T>& seed : seeds) {
      if (seed.y.empty() || seed.cotangent.empty())
        throw ShapeError("backward: y or its cotangent is empty (moved from?)");
      if (!seed.y.dims().same_extents(seed.cotangent.dims()))
        throw ShapeError(
            concat_text({"backward: y ", seed.y.dims(), " and its cotangent ", seed.cotangent.dims(), " differ"}));
      if (const Node node = seed.y.node(); node != 0 && !is_parameter(node) && (finished_ || node < first_node_))
        throw Error("backward: y was recorded before the last backward pass, which has used its records up");
    }
    if (accumulate == Accumulate::restart) drop_parameter_gradients();
    for (const Seed<T>& seed : seeds)
      if (const Ghost<T> y = ghost(seed.y)) give(y, seed.cotangent);
    run_entries();
  }

  // The gradient of a parameter, of a watched tensor, or of a view of either; empty where none flowed into it.
  template <Real T, int Rank>
  Tensor<T, Rank> gradient(const Parameter<T, Rank>& parameter) const {
    return Tensor<T, Rank>(gradient(parameter.any()));
  }
  template <Real T, int Rank>
  Tensor<T, Rank> gradient(const Tensor<T, Rank>& x) const {
    return Tensor<T, Rank>(gradient(x.any()));
  }
  template <Real T>
  AnyTensor<T> gradient(const AnyTensor<T>& x) const {
    return gradient(ghost_of_round(x));
  }
  // That of the rows of a linear's weight. Packed for inference it has none, which is no fault until somebody asks:
  // a frozen part of a model may stay packed beside what is trained.
  template <class Weight>
  requires requires(const Weight& weight) {
    weight.packed();
    weight.rows();
  }
  auto gradient(const Weight& weight) const {
    if (weight.packed()) throw Error("gradient: a packed weight has none; call unpack() before training");
    return gradient(weight.rows());
  }

  // Keeps the gradient of a result, which the tape otherwise drops once it has been handed on.
  template <Real T, int Rank>
  void retain(const Tensor<T, Rank>& y) {
    if (const Ghost<T> node = ghost(y.any())) slot_of(node.node).keep = Keep::yes;
  }

  void drop_parameter_gradients() noexcept {
    for (Slot& slot : parameters_) slot.gradient = BufferReference();
  }

  // ---- for ops

  // While a backward pass runs, ops compute but do not record.
  bool recording() const noexcept { return !running_; }

  // Which node and view `x` is for what is recorded next; a trainable parameter gets its node at first sight.
  template <Real T>
  Ghost<T> ghost(const AnyTensor<T>& x) const {
    Ghost<T> ghost = ghost_of_round(x);
    if (finished_ && !is_parameter(ghost.node)) ghost.node = 0;  // the next record begins a new round
    return ghost;
  }

  // Makes `y`, the whole of a fresh or donated buffer, a node whose gradient rule(GradTape&, Node of y) hands on.
  template <Real T, class Rule>
  void record(AnyTensor<T>& y, Rule&& rule) {
    const Node node = new_node(y.buffer()->bytes, bytes_of(y), Keep::no);
    entries_.push([rule = std::forward<Rule>(rule), node](GradTape& tape) mutable {
      rule(tape, node);
      tape.release(node);
    });
    y.set_node(node);
  }

  // The same for an op with several results, of which rule(GradTape&, Node of the first) knows that the nodes follow
  // each other. Absent results keep their number.
  template <Real T, class Rule>
  void record(std::span<AnyTensor<T>* const> results, Rule&& rule) {
    begin_round();
    const Node first = first_node_ + nodes_.size();
    const Node last = first + results.size();
    for (AnyTensor<T>* y : results) {
      const Node node = y->empty() ? new_node(0, 0, Keep::no) : new_node(y->buffer()->bytes, bytes_of(*y), Keep::no);
      if (!y->empty()) y->set_node(node);
    }
    entries_.push([rule = std::forward<Rule>(rule), first, last](GradTape& tape) mutable {
      rule(tape, first);
      for (Node node = first; node < last; ++node) tape.release(node);
    });
  }

  // What a rule asks: the gradient of its result (empty when none flowed there), ...
  template <Real T>
  AnyTensor<T> gradient(const Ghost<T>& y) const {
    if (!y) return {};
    const Slot& slot = slot_of(y.node);
    if (!slot.gradient) return {};
    return AnyTensor<T>(slot.gradient, reinterpret_cast<T*>(slot.gradient->data) + y.offset, y.dims);
  }

  // The same, out of the tape's hands where nobody will ask for it again, so that the rule may write into it.
  template <Real T>
  [[gnu::noinline]] AnyTensor<T> take_gradient(const Ghost<T>& y) {
    AnyTensor<T> gradient = this->gradient(y);
    if (!gradient.empty() && slot_of(y.node).keep == Keep::no) slot_of(y.node).gradient = BufferReference();
    return gradient;
  }

  // ... and what it hands over: dx is adopted when it is the first gradient of the whole of x, else added.
  template <Real T>
  [[gnu::noinline]] void give(const Ghost<T>& x, AnyTensor<T> dx) {
    if (!x || dx.empty()) return;
    Slot& slot = slot_of(x.node);
    const bool whole = x.offset == 0 && x.dims.dense() && bytes_of(dx) == slot.used;
    if (!slot.gradient && whole && dx.sole() && dx.buffer()->bytes == slot.bytes) {
      slot.gradient = dx.reference();
      return;
    }
    add(x, dx);
  }

  // Adds dx to the gradient of x. Axes of x with stride 0 repeat one element: its gradient is the sum over them.
  template <Real T>
  void add(const Ghost<T>& x, const AnyTensor<T>& dx) {
    AnyTensor<T> sum = into(x);
    context_.run("accumulate", cost_per_element<T>(dx.count(), 1, 3), [&](Threads threads) {
      kernels::add_to(threads, dx.data(), dx.dims(), sum.mutable_data(), sum.dims());
    });
  }

  // The gradient of x as a place that a kernel writes where it is the first gradient of the whole of x, else adds to.
  template <Real T>
  [[gnu::noinline]] GradientPlace<T> place(const Ghost<T>& x) {
    Slot& slot = slot_of(x.node);
    const std::size_t used = static_cast<std::size_t>(x.dims.count()) * sizeof(T);
    if (slot.gradient || x.offset != 0 || !x.dims.dense() || round_to_buffer(used) != slot.bytes)
      return {into(x), GradientSum::to_add_to};
    AnyTensor<T> whole = context_.empty_any<T>(dense_dims({static_cast<Index>(slot.bytes / sizeof(T))}));
    if (used < slot.bytes) {  // elements beyond x, if they are any
      context_.run("zero_gradient", {.bytes = static_cast<double>(slot.bytes - used)},
                   [&](Threads) { std::memset(whole.mutable_data() + x.dims.count(), 0, slot.bytes - used); });
    }
    slot.gradient = whole.reference();
    return {AnyTensor<T>(slot.gradient, reinterpret_cast<T*>(slot.gradient->data), x.dims), GradientSum::fresh};
  }

  // The gradient of x as a place that a kernel adds to, made zero where there was none.
  template <Real T>
  [[gnu::noinline]] AnyTensor<T> into(const Ghost<T>& x) {
    Slot& slot = slot_of(x.node);
    if (!slot.gradient) {
      const Index count = static_cast<Index>(slot.bytes / sizeof(T));
      AnyTensor<T> zero = context_.empty_any<T>(dense_dims({count}));
      context_.run("zero_gradient", {.bytes = static_cast<double>(slot.bytes)},
                   [&](Threads) { std::memset(zero.mutable_data(), 0, slot.bytes); });
      slot.gradient = zero.reference();
    }
    return AnyTensor<T>(slot.gradient, reinterpret_cast<T*>(slot.gradient->data) + x.offset, x.dims);
  }

 private:
  enum class Keep { no, yes };

  struct Slot {
    std::size_t bytes = 0;  // of the buffer
    std::size_t used = 0;   // of them in elements; where that is not known, all
    Keep keep = Keep::no;
    BufferReference gradient;
  };

  struct ParameterNode {
    const Buffer* buffer;
    Node node;
  };

  static constexpr Node parameter_bit = Node{1} << 63;
  static bool is_parameter(Node node) noexcept { return (node & parameter_bit) != 0; }

  template <Real T>
  static std::size_t bytes_of(const AnyTensor<T>& x) noexcept {
    return static_cast<std::size_t>(x.count()) * sizeof(T);
  }

  template <Real T>
  [[gnu::noinline]] Ghost<T> ghost_of_round(const AnyTensor<T>& x) const {
    if (x.empty()) return {};
    Node node = x.node();
    if (node == 0 && x.buffer()->pool == nullptr && x.buffer()->trainable) node = parameter_node(x.buffer());
    if (node != 0 && !is_parameter(node) && node < first_node_) node = 0;  // of an earlier round: a constant now
    return {node, node == 0 ? 0 : x.offset(), x.dims()};
  }

  Node parameter_node(const Buffer* buffer) const {
    const auto address = reinterpret_cast<std::uintptr_t>(buffer);
    std::size_t at = 0;  // of the first entry that is not before `buffer`
    for (std::size_t end = parameter_nodes_.size(); at < end;) {
      const std::size_t middle = at + (end - at) / 2;
      if (reinterpret_cast<std::uintptr_t>(parameter_nodes_[middle].buffer) < address)
        at = middle + 1;
      else
        end = middle;
    }
    if (at == parameter_nodes_.size() || parameter_nodes_[at].buffer != buffer) {
      parameters_.push_back({buffer->bytes, buffer->bytes, Keep::yes, {}});
      parameter_nodes_.insert(parameter_nodes_.begin() + static_cast<std::ptrdiff_t>(at),
                              {buffer, parameter_bit | (parameters_.size() - 1)});
    }
    const Node node = parameter_nodes_[at].node;
    Slot& slot = slot_of(node);
    if (slot.bytes != buffer->bytes)
      slot = {buffer->bytes, buffer->bytes, Keep::yes, {}};  // another one at its address
    return node;
  }

  Slot& slot_of(Node node) const noexcept {
    return is_parameter(node) ? parameters_[node & ~parameter_bit] : nodes_[node - first_node_];
  }

  // After a backward pass the first thing recorded begins a new round; node numbers of the last one become constants.
  void begin_round() {
    if (!finished_) return;
    first_node_ += nodes_.size();
    nodes_.clear();
    finished_ = false;
  }

  [[gnu::noinline]] Node new_node(std::size_t bytes, std::size_t used, Keep keep) {
    begin_round();
    nodes_.push_back({bytes, used, keep, {}});
    return first_node_ + nodes_.size() - 1;
  }

  void release(Node node) noexcept {
    Slot& slot = slot_of(node);
    if (slot.keep == Keep::no) slot.gradient = BufferReference();
  }

  void run_entries() {
    running_ = true;
    try {
      entries_.run_reversed(*this);
    } catch (...) {
      running_ = false;
      finished_ = true;
      entries_.clear();
      throw;
    }
    running_ = false;
    finished_ = true;
  }

  Context& context_;
  ClosureArena<GradTape> entries_;
  mutable std::vector<Slot> nodes_;
  Node first_node_ = 1;
  mutable std::vector<ParameterNode> parameter_nodes_;  // by address
  mutable std::vector<Slot> parameters_;
  bool running_ = false;
  bool finished_ = false;
};

}  // namespace aulos::inline AULOS_ISA
