// What runs pieces of work: the library's own pool, or threads that an application lends.
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/core/function_ref.hpp"

namespace aulos::inline AULOS_ISA {

// concurrency(): how many pieces may run at the same time, the calling thread included; read once, when it is lent.
// run(pieces, body): calls body(0..pieces-1), each once, in any order and on any thread, and returns when all have
// ended. The body doesn't throw. Running the pieces in a plain loop is a valid executor.
template <class E>
concept Executor = requires(E& executor, Index pieces, FunctionRef<void(Index)> body) {
  { executor.concurrency() } -> std::convertible_to<Index>;
  executor.run(pieces, body);
};

// A lent executor without its type: two pointers. It must not outlive what it refers to.
class ExecutorRef {
 public:
  template <class E>
  requires(Executor<E> && !std::is_same_v<std::remove_cv_t<E>, ExecutorRef>) explicit ExecutorRef(E& executor) noexcept
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(executor)))),
        run_([](void* object, Index pieces, FunctionRef<void(Index)> body) {
          static_cast<E*>(object)->run(pieces, body);
        }) {}

  void run(Index pieces, FunctionRef<void(Index)> body) const { run_(object_, pieces, body); }

 private:
  void* object_;
  void (*run_)(void*, Index, FunctionRef<void(Index)>);
};

}  // namespace aulos::inline AULOS_ISA
