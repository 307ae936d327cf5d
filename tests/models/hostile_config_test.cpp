// A configuration in a file's metadata that asks for more blocks than there are tensors is refused before a model is
// built by it.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "aulos/models/dit_config.hpp"
#include "aulos/models/flux_checkpoint.hpp"
#include "aulos/models/sd3_checkpoint.hpp"
#include "aulos/models/sepformer_checkpoint.hpp"
#include "aulos/models/vit_config.hpp"
#include "models/checkpoint_memory.hpp"

namespace {

using namespace aulos::models;
using aulos::io::Checkpoint;

void expect_refusal(const std::string& config, const std::function<void(const Checkpoint&)>& read) {
  const aulos_tests::CheckpointMemory memory({{"x", {{1}, {0.0f}}}}, {{"config", config}});
  try {
    read(memory.open());
    ADD_FAILURE() << config << " was taken";
  } catch (const aulos::ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("model.safetensors: the configuration has"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("blocks, more than the file's 1 tensors"), std::string::npos)
        << error.what();
  }
}

TEST(HostileConfig, MoreBlocksThanTensors) {
  expect_refusal(R"({"depth":1000000000})", [](const Checkpoint& file) { vit_config_of(file, ""); });
  expect_refusal(R"({"depth":2})", [](const Checkpoint& file) { vit_config_of(file, ""); });
  expect_refusal(R"({"depth":1000000000})", [](const Checkpoint& file) { dit_config_of(file, ""); });
  expect_refusal(R"({"num_layers":1000000000})", [](const Checkpoint& file) {
    sd3_config_of(file, {CheckpointLayout::diffusers, ""});
  });
  expect_refusal(R"({"num_single_layers":9223372036854775807})", [](const Checkpoint& file) {
    flux_config_of(file, {CheckpointLayout::diffusers, ""});
  });
  expect_refusal(R"({"masknet_numlayers":1000000000})", [](const Checkpoint& file) {
    separator_config<SepFormerConfig>({"sepformer", file, ""});
  });
  expect_refusal(R"({"num_layers":1000000000})", [](const Checkpoint& file) {
    separator_config<DprnnConfig>({"dprnn", file, ""});
  });
}

TEST(HostileConfig, AsManyAsFitAreTaken) {
  const aulos_tests::CheckpointMemory memory({{"x", {{1}, {0.0f}}}}, {{"config", R"({"depth":1})"}});
  EXPECT_EQ(vit_config_of(memory.open(), "").depth, 1);
}

}  // namespace
