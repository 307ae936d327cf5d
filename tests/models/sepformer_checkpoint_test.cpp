// Files of SepFormer and DPRNN. No forward pass: what is read is compared with what was written.
#include "aulos/models/sepformer_checkpoint.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "models/sepformer_support.hpp"
#include "tests/support/paths.hpp"

namespace {

using namespace sepformer_support;
using aulos::ConfigError;

std::string temporary(const char* name) {
  static const std::filesystem::path folder = aulos_tests::fresh_dir();
  return (folder / name).string();
}

using Named = std::vector<std::pair<std::string, std::vector<float>>>;

// Every parameter and every table that was derived.
template <class M>
Named values(const M& model) {
  Named all;
  nn::for_each_parameter(model, [&](const auto& p) {
    const float* x = p.any().data();
    all.emplace_back(p.name.text(), std::vector<float>(x, x + p.count()));
  });
  return all;
}

template <class M>
void expect_round_trip(const typename M::Config& config) {
  const auto model = filled<M>(config);
  const std::string file = temporary(M::Config::name);
  model.save(file);
  const auto loaded = M::load(file);
  EXPECT_EQ(loaded.config.to_json(), config.to_json());
  EXPECT_TRUE(values(loaded) == values(model));
  std::filesystem::remove(file);
}

TEST(SeparatorFiles, SaveAndLoad) {
  for (const SeparatorNorm norm : {SeparatorNorm::ln, SeparatorNorm::gln, SeparatorNorm::cln}) {
    SepFormerConfig c = small_sepformer();
    c.masknet_norm = norm;
    c.inter.norm_before = false;
    c.masknet_useextralinearlayer = true;
    c.masknet_numspks = 3;
    expect_round_trip<SepFormer<float>>(c);
    DprnnConfig d = small_dprnn();
    d.norm = norm;
    expect_round_trip<Dprnn<float>>(d);
  }
}

// Encoder, mask network and decoder in files of their own, whose names have no prefix, without tables of positions.
TEST(SeparatorFiles, LoadThreeOfThem) {
  const auto model = filled<SepFormer<float>>(small_sepformer());
  const auto write = [&](const char* name, const std::string& prefix) {
    std::vector<io::SaveTensor> tensors;
    std::vector<std::vector<std::byte>> bytes;
    nn::for_each_parameter(model, [&](const auto& p) {
      const std::string full = p.name.text();
      if (full.rfind(prefix, 0) != 0 || p.role == nn::Role::derived_buffer) return;
      const auto* data = reinterpret_cast<const std::byte*>(p.any().data());
      bytes.emplace_back(data, data + p.count() * 4);
      tensors.push_back({full.substr(prefix.size()), aulos::Dtype::f32, p.shape, bytes.back()});
    });
    io::save(temporary(name), tensors, {});
    return io::Checkpoint::open(temporary(name));
  };
  const auto encoder = write("encoder", "encoder."), masknet = write("masknet", "masknet."),
             decoder = write("decoder", "decoder.");
  EXPECT_NE(encoder.find("conv1d.weight"), nullptr);
  EXPECT_NE(masknet.find("dual_mdl.1.intra_mdl.mdl.layers.1.self_att.att.in_proj_weight"), nullptr);
  EXPECT_NE(decoder.find("weight"), nullptr);
  aulos::models::ModelLoadOptions<SepFormerConfig> options;
  options.config = small_sepformer();
  EXPECT_TRUE(values(SepFormer<float>::load(encoder, masknet, decoder, options)) == values(model));
  EXPECT_THROW(SepFormer<float>::load(encoder, decoder, masknet, options), aulos::CheckpointError);
  try {
    SepFormer<float>::load(encoder, masknet, decoder);
    ADD_FAILURE() << "the shapes do not tell the chunk length";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("can't tell masknet_chunksize"), std::string::npos) << error.what();
  }
  for (const char* name : {"encoder", "masknet", "decoder"}) std::filesystem::remove(temporary(name));
}

// The published width tells chunk length, heads and norm (gln tells itself); the rest stands in the shapes.
TEST(SeparatorFiles, TheConfigurationFromShapes) {
  const std::string file = temporary("shapes");
  SepFormerConfig c = SepFormerConfig::three_speakers();
  c.masknet_numlayers = 1;
  c.intra.layers = 2;
  c.inter.layers = 1;
  c.intra.hidden = 8;
  c.inter.hidden = 16;
  nn::save_parameters(filled<SepFormer<float>>(c), file, aulos::Dtype::f32);
  EXPECT_EQ(SepFormer<float>::load(file).config.to_json(), c.to_json());
  DprnnConfig d;
  d.channels = 8;
  d.hidden = 5;
  d.rnn_layers = 2;
  d.num_layers = 3;
  d.num_spks = 3;
  d.norm = SeparatorNorm::gln;
  nn::save_parameters(filled<Dprnn<float>>(d), file, aulos::Dtype::f32);
  EXPECT_EQ(Dprnn<float>::load(file).config.to_json(), d.to_json());
  d.in_channels = 12;
  nn::save_parameters(filled<Dprnn<float>>(d), file, aulos::Dtype::f32);
  EXPECT_THROW(Dprnn<float>::load(file), ConfigError);
  std::filesystem::remove(file);
}

}  // namespace
