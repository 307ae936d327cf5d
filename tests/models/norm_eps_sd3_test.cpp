// The eps of the norms of SD3.5: 1e-6, those of queries and keys too.
#include <gtest/gtest.h>

#include "models/norm_eps.hpp"
#include "models/sd3_support.hpp"

namespace {

using namespace aulos_tests;

TEST(NormEps, OfSD3) {
  aulos::Context context({.threads = 1});
  const SD3 model = random_sd3(small_sd35(), 1, 0.05);
  const SD3Inputs in(context, model.config, 1);
  const auto found = norms_of(context, [&] { in.run(context, model); });
  // Three blocks: norm1 of image and text, norm2 of both (not of the last text), q and k of both, q and k of the second
  // attention of block 0; norm_out.
  expect_eps(found, 3 * 2 + 5 + 3 * 4 + 2 + 1, 1e-6);
}

}  // namespace
