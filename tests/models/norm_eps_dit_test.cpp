// The eps of the norms of DiT: 1e-6, in each of its four kinds of conditioning.
#include <gtest/gtest.h>

#include "models/dit_support.hpp"
#include "models/norm_eps.hpp"

namespace {

using namespace aulos_tests;

TEST(NormEps, OfDiT) {
  for (const auto conditioning : every_conditioning) {
    SCOPED_TRACE(static_cast<int>(conditioning));
    aulos::Context context({.threads = 1});
    const DiT model = random_dit(small_dit(conditioning), 0.05);
    const DiTInputs in(context, model.config, 1);
    const auto found = norms_of(context, [&] { in.run(context, model); });
    // Two blocks of two norms, of three with cross-attention, and the last one.
    const bool cross = conditioning == aulos::models::DiTConditioning::cross_attention;
    expect_eps(found, cross ? 7 : 5, 1e-6);
  }
}

}  // namespace
