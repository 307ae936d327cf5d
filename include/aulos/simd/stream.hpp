// Stores that go past the caches, for results that are larger than they are: an ordinary store first reads the line
// that it overwrites, half as many bytes again.
#pragma once

#include <cstdint>

#include "aulos/simd/for_lanes.hpp"

namespace aulos::inline AULOS_ISA::simd {

// True where stream() goes past the caches; elsewhere it is store().
#if defined(__SSE2__)
inline constexpr bool has_stream = true;
#else
inline constexpr bool has_stream = false;
#endif

// p aligned to the batch. Not ordered with what follows before the next stream_fence().
template <class T>
inline void stream(T* p, Batch<T> x) noexcept {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) {
    _mm512_stream_ps(p, x.native());
  } else {
    _mm512_stream_pd(p, x.native());
  }
#elif defined(__AVX__)
  if constexpr (std::is_same_v<T, float>) {
    _mm256_stream_ps(p, x.native());
  } else {
    _mm256_stream_pd(p, x.native());
  }
#elif defined(__SSE2__)
  if constexpr (std::is_same_v<T, float>) {
    _mm_stream_ps(p, x.native());
  } else {
    _mm_stream_pd(p, x.native());
  }
#else
  store(p, x);
#endif
}

// What was streamed before is seen by whoever sees what is stored after.
inline void stream_fence() noexcept {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Asks the second-level cache for what lies a page behind p, which need not exist: processors read ahead on their own,
// but only to the end of a page.
template <class T>
[[gnu::always_inline]] inline void ask_page_ahead(const T* p) noexcept {
  constexpr std::uintptr_t page = 4096;
  const auto ahead = reinterpret_cast<std::uintptr_t>(p) + page;   // a number: no object may lie there
  __builtin_prefetch(reinterpret_cast<const void*>(ahead), 0, 2);  // NOLINT(performance-no-int-to-ptr)
}

// How results are stored.
enum class Path { cached, past_caches };

// A whole batch whose store goes past the caches.
template <class T>
struct StreamedBatch : WholeBatch<T> {
  void store(T* p, Batch<T> x) const noexcept { simd::stream(p, x); }
};

// for_lanes, for a body whose whole batches may be stored past the caches (aligned, then; a stream_fence() must follow,
// once for many rows: it waits for the memory).
template <class T, Path path, class Body>
inline void for_lanes_on(Index length, const Body& body) {
  if constexpr (path == Path::cached) {
    for_lanes<T>(length, body);
  } else {
    Index i = 0;
    for (; i + lanes<T> <= length; i += lanes<T>) body(i, StreamedBatch<T>{});
    if (i < length) body(i, PartialBatch<T>{length - i});
  }
}

}  // namespace aulos::inline AULOS_ISA::simd
