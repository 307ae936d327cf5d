// Version, assertion level and the namespace that every other header opens.
#pragma once

#include <cstddef>
#include <cstdint>

#define AULOS_VERSION_MAJOR 0
#define AULOS_VERSION_MINOR 1
#define AULOS_VERSION_PATCH 0

// 0: argument checks of the public API only. 1: cheap internal checks as well. 2: test builds; fresh tensors are filled
// with NaN and a tensor that is used on a thread other than its Context's is reported.
#ifndef AULOS_ASSERT_LEVEL
#define AULOS_ASSERT_LEVEL 0
#endif

// The instruction set (and what else changes the code of an inline function) is part of an inline namespace around the
// whole library, so that translation units built with different flags never share one of its symbols.
#if defined(__AMX_TILE__) && defined(__AVX512BF16__)
#define AULOS_ISA_NAME avx512amx
#elif defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#define AULOS_ISA_NAME avx512bf16
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define AULOS_ISA_NAME avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define AULOS_ISA_NAME avx2
#elif defined(__AVX__)
#define AULOS_ISA_NAME avx
#elif defined(__SSE4_1__)
#define AULOS_ISA_NAME sse41
#elif defined(__SSE2__) || defined(__x86_64__)
#define AULOS_ISA_NAME sse2
#elif defined(__ARM_FEATURE_SVE)
#define AULOS_ISA_NAME sve
#elif defined(__aarch64__)
#define AULOS_ISA_NAME neon64
#else
#define AULOS_ISA_NAME scalar
#endif
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#define AULOS_MATH_NAME fast
#else
#define AULOS_MATH_NAME ieee
#endif
#define AULOS_JOIN_(a, b, c) a##_##b##_assert##c
#define AULOS_JOIN(a, b, c) AULOS_JOIN_(a, b, c)
#define AULOS_ISA AULOS_JOIN(AULOS_ISA_NAME, AULOS_MATH_NAME, AULOS_ASSERT_LEVEL)

namespace aulos::inline AULOS_ISA {

// Every extent, stride, count and index of the library.
using Index = std::int64_t;

// template <class = Deferred>: a function that depends on no type, but whose body, and the standard library's templates
// in it, are compiled only in programs that call it. The umbrella compiles a tenth faster so.
struct Deferred {};

}  // namespace aulos::inline AULOS_ISA
