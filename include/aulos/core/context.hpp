// A Context: threads, pool, random generator and, on request, tape, profile, plan and capture. One per thread of
// control; a const model may be used from many at once.
#pragma once

#include <cstdint>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/core/any_tensor.hpp"
#include "aulos/core/clock.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/eigen.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/function_ref.hpp"
#include "aulos/core/numeric.hpp"
#include "aulos/core/pool.hpp"
#include "aulos/core/processor.hpp"
#include "aulos/core/profile.hpp"
#include "aulos/core/random.hpp"
#include "aulos/core/scope.hpp"
#include "aulos/core/shape.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/core/thread_count.hpp"
#include "aulos/core/threads.hpp"

namespace aulos::inline AULOS_ISA {

class GradTape;

struct ContextOptions {
  int threads = 0;                   // 0: as many as the processor, the affinity mask and the container's quota allow
  std::uint64_t seed = 0;            // of random()
  std::size_t reserve_bytes = 0;     // pool memory to take at once; see plan()
  Numeric numeric = Numeric::exact;  // what products may round
};

// What a computation would cost, without arithmetic.
struct Plan {
  Index parameters = 0;  // elements of the model's parameters
  double flops = 0;
  double bytes = 0;               // read and written by operations
  std::size_t peak_bytes = 0;     // of tensors alive at the same time
  std::size_t held_bytes = 0;     // what the pool has to hold in one piece: ContextOptions::reserve_bytes
  std::size_t scratch_bytes = 0;  // per thread, outside the pool
};

// Receives intermediate values by name while a Context captures: see Context::capture.
template <Real T>
struct Captured {
  std::string name;  // "transformer_blocks.3.attn/q"
  AnyTensor<T> value;
};

template <Element T, int Rank>
class Input;

class Context {
 public:
  // Throws Error where the processor lacks the instruction set that this code was compiled for.
  template <class = Deferred>
  explicit Context(const ContextOptions& options = {}) : Context(Pool::Kind::real, options) {}

  // Threads lent by the application: it must outlive the Context.
  template <Executor E>
  explicit Context(E& executor, const ContextOptions& options = {})
      : team_(checked(executor)),
        pool_(new Pool(this, Pool::Kind::real)),
        random_(options.seed),
        numeric_(options.numeric) {
    start(options);
  }

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
    captured_floats_.clear();
    captured_doubles_.clear();
    pool_->orphan();
  }

  // A Context that plans: tensors have shapes but no elements, operations are counted but not run.
  struct Dry : ContextOptions {
    Dry() = default;  // no aggregate, or clang takes Context({.threads = 2}) for it
    explicit Dry(const ContextOptions& options) : ContextOptions(options) {}
  };
  template <class = Deferred>
  explicit Context(const Dry& options) : Context(Pool::Kind::dry, options) {}
  bool dry() const noexcept { return pool_->dry(); }

  // ---- tensors

  // Elements undefined (NaN in test builds). Throws ShapeError on an impossible shape, std::bad_alloc.
  template <Element T, int Rank>
  Tensor<T, Rank> empty(const Shape<Rank>& shape) {
    return Tensor<T, Rank>(empty_any<T>(dense_dims(shape.extents, Rank)));
  }

  template <Element T, int Rank>
  Tensor<T, Rank> full(const Shape<Rank>& shape, T value) {
    Tensor<T, Rank> x = empty<T, Rank>(shape);
    fill_each(x, [value](Index) { return value; });
    return x;
  }

  template <Element T, int Rank>
  Tensor<T, Rank> zeros(const Shape<Rank>& shape) {
    return full<T, Rank>(shape, T{0});
  }

  // Copied from `values`, which holds the elements in row-major order.
  template <Element T, int Rank>
  Tensor<T, Rank> from(const Shape<Rank>& shape, const T* values) {
    Tensor<T, Rank> x = empty<T, Rank>(shape);
    fill_each(x, [values](Index i) { return values[i]; });
    return x;
  }

  // The value of an Eigen tensor, map or tensor expression, row- or column-major.
  template <EigenTensorExpression E>
  auto from(const E& expression) {
    using Traits = Eigen::internal::traits<E>;
    using T = std::remove_const_t<typename Traits::Scalar>;
    constexpr int rank = Traits::NumDimensions;
    static_assert(Element<T>, "a tensor has elements of float, double, int64, int32 or uint8; use .template cast<T>()");
    static_assert(rank >= 1 && rank <= max_rank, "a tensor has 1 to 8 axes");
    return evaluate<T, rank>(expression);
  }

  // From the Context's generator: standard normal, or uniform in [0, 1).
  template <Real T, int Rank>
  Tensor<T, Rank> normal(const Shape<Rank>& shape) {
    Tensor<T, Rank> x = empty<T, Rank>(shape);
    if (!dry()) random_.normal(x.mutable_data(), x.count());
    return x;
  }
  template <Real T, int Rank>
  Tensor<T, Rank> uniform(const Shape<Rank>& shape) {
    Tensor<T, Rank> x = empty<T, Rank>(shape);
    if (!dry()) random_.uniform(x.mutable_data(), x.count());
    return x;
  }

  template <Element T>
  [[gnu::noinline]] AnyTensor<T> empty_any(const Dims& extents) {
    check_thread();
    Dims dims = extents;
    dims.make_dense();
    const Index count = checked_count(dims.extent, dims.rank, sizeof(T));
    BufferReference buffer(pool_->take(static_cast<std::size_t>(count) * sizeof(T)));
    T* data = reinterpret_cast<T*>(buffer->data);
    return AnyTensor<T>(std::move(buffer), data, dims);
  }

  // ---- running kernels: for ops

  // The only place where kernels get threads and memory: kernel(Threads). In a dry Context the cost is counted and the
  // kernel is not called. Work below some five microseconds stays on this thread.
  template <class = Deferred>
  [[gnu::noinline]] void run(const char* operation, const Cost& cost, FunctionRef<void(Threads)> kernel) {
    check_thread();
    if (dry()) {
      plan_.flops += cost.flops;
      plan_.bytes += cost.bytes;
      if (cost.scratch > plan_.scratch_bytes) plan_.scratch_bytes = cost.scratch;
      return;
    }
    const double estimate = cost.flops / flops_per_second + cost.bytes / bytes_per_second;
    const Threads threads = estimate < alone_below ? team_.serial(cost.scratch) : team_.threads(cost.scratch);
    if (!profiling_) {
      kernel(threads);
      return;
    }
    const double start = seconds_now();
    kernel(threads);
    const double seconds = seconds_now() - start;
    profile_.push_back({operation, scopes_.text(), seconds, cost.flops, cost.bytes});
  }

  // ---- what belongs to the Context

  Random& random() noexcept { return random_; }
  Index threads() const noexcept { return team_.count(); }
  // What products may round; of use to a caller who lets one model run in bf16 and another exactly.
  Numeric numeric() const noexcept { return numeric_; }
  void set_numeric(Numeric numeric) noexcept { numeric_ = numeric; }
  const MemoryUse& memory() const noexcept { return pool_->use(); }
  void reset_memory_peak() noexcept { pool_->reset_peak(); }
  // Takes pool memory now, so that later calls ask the system for none: reserve(plan.held_bytes).
  template <class = Deferred>
  void reserve(std::size_t bytes) {
    pool_->reserve(bytes);
  }

  ScopeStack& scopes() noexcept { return scopes_; }

  GradTape* tape() const noexcept { return tape_; }
  void set_tape(GradTape* tape) noexcept { tape_ = tape; }

  // What the dry Context has counted so far.
  Plan planned() const noexcept {
    Plan plan = plan_;
    plan.peak_bytes = memory().peak;
    plan.held_bytes = memory().held;
    return plan;
  }

  template <class = Deferred>
  void start_profile() {
    profile_.clear();
    profiling_ = true;
  }
  // The records since start_profile.
  template <class = Deferred>
  std::vector<ProfileRecord> stop_profile() {
    profiling_ = false;
    return std::exchange(profile_, {});
  }

  // From now on ops keep the values whose name contains `pattern`, up to stop_capture. Names are "scope/op" for
  // results and "scope/op:argument" for arguments.
  void start_capture(std::string pattern) {
    capture_pattern_ = std::move(pattern);
    capturing_ = true;
  }
  template <Real T>
  std::vector<Captured<T>> stop_capture() {
    capturing_ = false;
    return std::exchange(captured<T>(), {});
  }
  bool capturing() const noexcept { return capturing_; }
  template <Real T>
  void capture(const char* operation, const char* argument, const AnyTensor<T>& value) {
    std::string name = scopes_.text() + '/' + operation;
    if (argument != nullptr) name += std::string(":") + argument;
    if (name.find(capture_pattern_) != std::string::npos) captured<T>().push_back({std::move(name), value});
  }

 private:
  template <Element T, int Rank>
  friend class Input;

  // Rates of one slow core: only for the decision whether threads are worth waking.
  static constexpr double flops_per_second = 5e10;
  static constexpr double bytes_per_second = 1e10;
  static constexpr double alone_below = 5e-6;

  template <class = Deferred>
  Context(Pool::Kind kind, const ContextOptions& options)
      : team_(checked(team_size(kind, options))),
        pool_(new Pool(this, kind)),
        random_(options.seed),
        numeric_(options.numeric) {
    start(options);
  }

  // Before the first thing that could use an instruction which the processor lacks.
  template <class X>
  static X&& checked(X&& x) {
    require_processor();
    return std::forward<X>(x);
  }

  static int team_size(Pool::Kind kind, const ContextOptions& options) {
    if (kind == Pool::Kind::dry) return 1;
    return options.threads == 0 ? default_thread_count() : options.threads;
  }

  template <class = Deferred>
  void start(const ContextOptions& options) {
    try {
      if (numeric_ != Numeric::exact && !dry()) request_tiles();
      if (options.reserve_bytes > 0) pool_->reserve(options.reserve_bytes);
    } catch (...) {
      pool_->orphan();
      throw;
    }
  }

  template <Element T, int Rank, class E>
  Tensor<T, Rank> evaluate(const E& expression) {
    Tensor<T, Rank> x;
    evaluate_eigen<T, Rank>(expression, [&](const Index* extents) {
      Shape<Rank> shape{};
      for (int axis = 0; axis < Rank; ++axis) shape[axis] = extents[axis];
      x = empty<T, Rank>(shape);
      return dry() ? nullptr : x.mutable_data();
    });
    return x;
  }

  // A tensor belongs to the thread of its Context.
  void check_thread() const {
#if AULOS_ASSERT_LEVEL >= 2
    if (std::this_thread::get_id() != owner_)
      throw Error("context: used on another thread than the one that made it; expected one Context for each thread");
#endif
  }

  template <Element T, int Rank, class F>
  void fill_each(Tensor<T, Rank>& x, F&& value) {
    if (dry()) return;
    T* data = x.mutable_data();
    for (Index i = 0; i < x.count(); ++i) data[i] = value(i);
  }

  template <Real T>
  std::vector<Captured<T>>& captured() noexcept {
    if constexpr (std::is_same_v<T, float>)
      return captured_floats_;
    else
      return captured_doubles_;
  }

  ThreadTeam team_;
  Pool* pool_;  // goes with its last buffer
  Random random_;
  Numeric numeric_;
  ScopeStack scopes_;
  GradTape* tape_ = nullptr;
  Plan plan_;
  bool profiling_ = false;
  std::vector<ProfileRecord> profile_;
  bool capturing_ = false;
  std::string capture_pattern_;
  std::vector<Captured<float>> captured_floats_;
  std::vector<Captured<double>> captured_doubles_;
#if AULOS_ASSERT_LEVEL >= 2
  std::thread::id owner_ = std::this_thread::get_id();
#endif
};

// A module's argument: a Tensor, or any Eigen tensor, map or expression of that rank and scalar type, row- or
// column-major, which is evaluated into the Context's pool.
template <Element T, int Rank>
class Input {
 public:
  Input(Tensor<T, Rank> tensor) : tensor_(std::move(tensor)) {}  // NOLINT(google-explicit-constructor)
  template <EigenTensorExpression E>
  Input(const E& expression)  // NOLINT(google-explicit-constructor)
      : expression_(&expression), evaluate_([](const void* object, Context& context) {
          return context.evaluate<T, Rank>(*static_cast<const E*>(object));
        }) {}

  // The tensor; call once.
  Tensor<T, Rank> in(Context& context) && {
    return evaluate_ == nullptr ? std::move(tensor_) : evaluate_(expression_, context);
  }

 private:
  Tensor<T, Rank> tensor_;
  const void* expression_ = nullptr;
  Tensor<T, Rank> (*evaluate_)(const void*, Context&) = nullptr;
};

}  // namespace aulos::inline AULOS_ISA
