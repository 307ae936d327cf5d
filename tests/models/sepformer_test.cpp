// SepFormer: parameters, plan, configurations. Its numbers are compared with PyTorch's by the golden cases.
#include "aulos/models/sepformer.hpp"

#include <gtest/gtest.h>

#include <string>

#include "aulos/core/plan.hpp"
#include "models/sepformer_support.hpp"

namespace {

using namespace sepformer_support;

TEST(SepFormer, PublishedVariantsHaveTheirParameters) {
  EXPECT_EQ(nn::parameter_count(SepFormer<float>(SepFormerConfig::two_speakers())), 25679361);
  EXPECT_EQ(nn::parameter_count(SepFormer<float>(SepFormerConfig::three_speakers())), 25745153);
  EXPECT_EQ(nn::parameter_count(SepFormer<float>(SepFormerConfig::two_speakers()).masknet), 25671169);
  EXPECT_EQ(nn::parameter_count(SepFormer<float>(SepFormerConfig::enhancement())), 25679361 - 65792);
}

// Multiply-adds of the transformers on 1 s: 68.24 G; the plan counts them twice and everything else too.
TEST(SepFormer, PlansAPublishedModel) {
  const SepFormer<float> model(SepFormerConfig::two_speakers());
  const aulos::Plan plan = aulos::plan([&](Context& dry) { model(dry, dry.empty<float>(Shape<2>{1, 8000})); });
  EXPECT_GT(plan.flops, 2 * 68.24e9);
  EXPECT_LT(plan.flops, 2 * 70.5e9);
  EXPECT_LT(plan.peak_bytes, std::size_t{100} << 20);
}

TEST(SepFormer, ConfigurationsGoThroughJson) {
  SepFormerConfig c = small_sepformer();
  c.masknet_norm = SeparatorNorm::cln;
  c.inter.norm_before = false;
  c.intra.positional = false;
  const std::string text = c.to_json();
  EXPECT_EQ(SepFormerConfig::from_json(io::json::parse(text)).to_json(), text);
  const auto refuse = [](const char* json, const char* says) {
    try {
      SepFormerConfig::from_json(io::json::parse(json));
      ADD_FAILURE() << "no error for " << json;
    } catch (const aulos::ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  };
  refuse(R"({"masknet_norm": "bn"})", "masknet_norm");
  refuse(R"({"intra_nhead": 7})", "intra_nhead = 7");
  refuse(R"({"masknet_numspks": 0})", "masknet_numspks is 0");
  refuse(R"({"encoder_kernel_size": 1})", "encoder_kernel_size");
  refuse(R"({"encoder_in_nchannels": 2})", "encoder_in_nchannels");
}

TEST(SepFormer, ShortAndLongMixtures) {
  const auto model = filled<SepFormer<float>>(small_sepformer());
  run(model, 8);  // one frame
  try {
    run(model, 7);
    ADD_FAILURE() << "too short a mixture";
  } catch (const aulos::ShapeError& error) {
    EXPECT_NE(std::string(error.what()).find("sepformer: mixture [2, 7], expected at least 8"), std::string::npos);
  }
  const auto table = model.masknet.dual_mdl[0].inner.mdl;
  Context context({.threads = 1});
  EXPECT_THROW(table(context.zeros<float>(Shape<3>{1, 2501, 16})), aulos::ShapeError);
}

TEST(SepFormer, ThreadsAgree) {
  const auto model = filled<SepFormer<float>>(small_sepformer());
  EXPECT_EQ(run(model, 2000, 1), run(model, 2000, 2));
}

// With norms behind the sublayers, over channels alone, without positions and with linears behind the paths.
TEST(SepFormer, TheOtherOptionsCompute) {
  SepFormerConfig c = small_sepformer();
  const auto published = run(filled<SepFormer<float>>(c), 131);
  c.inter.norm_before = false;
  const auto post_norm = run(filled<SepFormer<float>>(c), 131);
  c.masknet_norm = SeparatorNorm::cln;
  const auto per_token = run(filled<SepFormer<float>>(c), 131);
  c.intra.positional = false;
  const auto without_positions = run(filled<SepFormer<float>>(c), 131);
  EXPECT_NE(published, post_norm);
  EXPECT_NE(post_norm, per_token);
  EXPECT_NE(per_token, without_positions);
}

}  // namespace
