// Counts the allocations of the whole process, on all threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdio>

namespace aulos_tests {

// Whether they can be counted here: sanitizers and other libraries than glibc have allocators of their own.
bool counts_allocations();

// Calls of malloc, calloc, realloc, memalign, aligned_alloc, posix_memalign and valloc since the program started;
// operator new ends in one of them.
long allocations();

// Whether of ten calls only the first `warm_up` allocate.
template <class F>
bool quiet(const char* what, int threads, std::size_t warm_up, F&& f) {
  std::array<long, 10> counts{};
  for (long& count : counts) {
    const long before = allocations();
    f();
    count = allocations() - before;
  }
  bool right = counts[0] > 0;  // the first call cannot do without
  for (std::size_t i = warm_up; i < counts.size(); ++i) right = right && counts[i] == 0;
  std::fprintf(stderr, "%s, threads %d: allocations", what, threads);
  for (const long count : counts) std::fprintf(stderr, " %ld", count);
  std::fputs(right ? "\n" : ": expected 0 after warming up\n", stderr);
  return right;
}

// Whether Eigen tensors and expressions become arguments without an allocation.
bool quiet_inputs();

}  // namespace aulos_tests
