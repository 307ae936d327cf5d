// AULOS_UNROLL in front of a loop with a constant trip count: unrolled whole, so that a local array of batches lives in
// registers. g++ 12 spills such an array unless every loop over it (first value, body, use) carries the pragma.
// AULOS_UNROLL_4 in front of a short loop with a trip count known at run time: a quarter of its branches, so that its
// end is foreseen.
// AULOS_NO_UNROLL in front of one that must stay a loop: unrolled, it would keep more in flight than there are
// registers.
#pragma once

#if defined(__clang__)
#define AULOS_UNROLL _Pragma("clang loop unroll(full)")
#define AULOS_UNROLL_4 _Pragma("clang loop unroll_count(4)")
#define AULOS_NO_UNROLL _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)
#define AULOS_UNROLL _Pragma("GCC unroll 64")
#define AULOS_UNROLL_4 _Pragma("GCC unroll 4")
#define AULOS_NO_UNROLL _Pragma("GCC unroll 1")
#else
#define AULOS_UNROLL
#define AULOS_UNROLL_4
#define AULOS_NO_UNROLL
#endif
