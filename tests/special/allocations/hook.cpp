#include "tests/special/allocations/hook.hpp"

#include <sys/mman.h>
#include <sys/types.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "tests/support/sanitized.hpp"

#if defined(__GLIBC__) && !AULOS_TEST_SANITIZED
#define AULOS_TEST_HOOKED 1
#else
#define AULOS_TEST_HOOKED 0
#endif

namespace {

std::atomic<long> count{0};

}  // namespace

namespace aulos_tests {

bool counts_allocations() { return AULOS_TEST_HOOKED != 0; }
long allocations() { return count.load(); }

}  // namespace aulos_tests

#if AULOS_TEST_HOOKED
// glibc calls these in place of its own; its own stay reachable under these names.
extern "C" {
void* __libc_malloc(std::size_t);                 // NOLINT(bugprone-reserved-identifier)
void* __libc_calloc(std::size_t, std::size_t);    // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void*, std::size_t);         // NOLINT(bugprone-reserved-identifier)
void* __libc_memalign(std::size_t, std::size_t);  // NOLINT(bugprone-reserved-identifier)

void* malloc(std::size_t bytes) {
  ++count;
  return __libc_malloc(bytes);
}
void* calloc(std::size_t n, std::size_t bytes) {
  ++count;
  return __libc_calloc(n, bytes);
}
void* realloc(void* old, std::size_t bytes) {
  ++count;
  return __libc_realloc(old, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  ++count;
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) { return memalign(alignment, bytes); }
void* valloc(std::size_t bytes) { return memalign(4096, bytes); }
int posix_memalign(void** out, std::size_t alignment, std::size_t bytes) {
  void* memory = memalign(alignment, bytes);
  if (memory == nullptr) return ENOMEM;
  *out = memory;
  return 0;
}
}
#endif
