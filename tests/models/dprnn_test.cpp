// DPRNN. Its numbers are compared with PyTorch's by the golden cases.
#include <gtest/gtest.h>

#include "models/sepformer_support.hpp"

namespace {

using namespace sepformer_support;

TEST(Dprnn, ThePublishedVariantHasItsParameters) {
  EXPECT_EQ(nn::parameter_count(Dprnn<float>(DprnnConfig::two_speakers())), 14617089);
}

TEST(Dprnn, ConfigurationsGoThroughJson) {
  DprnnConfig c = small_dprnn();
  c.norm = SeparatorNorm::gln;
  c.skip_around_intra = false;
  EXPECT_EQ(DprnnConfig::from_json(io::json::parse(c.to_json())).to_json(), c.to_json());
  EXPECT_THROW(DprnnConfig::from_json(io::json::parse(R"({"hidden": 0})")), aulos::ConfigError);
}

TEST(Dprnn, ThreadsAgree) {
  const auto model = filled<Dprnn<float>>(small_dprnn());
  EXPECT_EQ(run(model, 2000, 1), run(model, 2000, 2));
}

}  // namespace
