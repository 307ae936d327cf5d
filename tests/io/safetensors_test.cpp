#include "aulos/io/safetensors.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/io/files.hpp"

namespace aulos::io {
namespace {

// Save as bf16, open, compare with what a model wants, read as float: the whole way through one include.
TEST(Safetensors, FromModelToFileAndBack) {
  const aulos_tests::Folder folder;
  const std::vector<float> weight = {1.0f, -0.5f, 3.0f, 0.0f, 2.0f, 256.0f};
  const std::vector<SaveTensor> tensors = {{"fc.weight", Dtype::bf16, {2, 3}}};
  save(folder / "m.safetensors", tensors,
       [&](Index, Index offset, std::span<std::byte> destination) {
         convert(weight.data() + offset / 2, Dtype::bf16, destination.data(),
                 static_cast<Index>(destination.size()) / 2);
       },
       {{"config", R"({"width":3})"}});
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
  const std::vector<WantedTensor> wanted = {{"fc.weight", {2, 3}}};
  const auto matches = match(wanted, checkpoint);
  std::vector<float> loaded(6);
  checkpoint.read(*matches[0], loaded.data(), 6);
  EXPECT_EQ(loaded, weight);
  EXPECT_EQ(json::parse(checkpoint.metadata().at("config")).get<Index>("width"), 3);
}

}  // namespace
}  // namespace aulos::io
