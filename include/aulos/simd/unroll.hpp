// AULOS_UNROLL in front of a loop with a constant trip count: unrolled whole, so that a local array of batches lives in
// registers. g++ 12 spills such an array unless every loop over it (first value, body, use) carries the pragma.
#pragma once

#if defined(__clang__)
#define AULOS_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define AULOS_UNROLL _Pragma("GCC unroll 64")
#else
#define AULOS_UNROLL
#endif
