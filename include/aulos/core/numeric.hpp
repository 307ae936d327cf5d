// What a product of matrices may round besides its sums.
#pragma once

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA {

// Both how a weight is stored (`pack`) and what a Context lets its products round:
//   exact  nothing; a weight is stored as the model's own type
//   bf16   activations to bf16 (nearest, ties to even) as they are packed; sums in float
//   int8   activations to 8 bits with a scale for each row, weights with a scale for each output channel; sums exact
// A product rounds its activations as far as the Context allows and the weight's storage profits: an exact Context
// widens a weight that is stored in fewer bits, without further rounding; an exact weight is multiplied exactly in any
// Context. Attention, which has no weights, is done in bf16 in a bf16 or int8 Context. Modes are of float; double is
// always exact. Within one mode and build, results depend neither on threads nor on the rows beside a row.
// g++ 12 takes a scoped enumerator for a name that shadows the type bf16.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
enum class Numeric : unsigned char { exact, bf16, int8 };
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

// "exact", "bf16" or "int8".
constexpr const char* name_of(Numeric numeric) noexcept {
  return numeric == Numeric::exact ? "exact" : numeric == Numeric::bf16 ? "bf16" : "int8";
}

}  // namespace aulos::inline AULOS_ISA
