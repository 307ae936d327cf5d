// What the tests of SepFormer and of DPRNN share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "aulos/core/random.hpp"
#include "aulos/models/sepformer.hpp"
#include "aulos/nn/initialise.hpp"

namespace sepformer_support {

using namespace aulos::models;
using aulos::Context;
using aulos::Index;
using aulos::Shape;
using aulos::Tensor;
namespace io = aulos::io;
namespace nn = aulos::nn;

inline SepFormerConfig small_sepformer() {
  SepFormerConfig c;
  c.encoder_kernel_size = 8;
  c.encoder_out_nchannels = 16;
  c.masknet_chunksize = 10;
  c.intra = {.layers = 2, .heads = 2, .hidden = 32};
  c.inter = {.layers = 1, .heads = 4, .hidden = 24};
  return c;
}

inline DprnnConfig small_dprnn() {
  DprnnConfig c;
  c.kernel_size = 8;
  c.in_channels = 12;
  c.channels = 8;
  c.hidden = 10;
  c.rnn_layers = 2;
  c.num_layers = 2;
  c.K = 6;
  return c;
}

template <class M>
M filled(const typename M::Config& config) {
  M model(config);
  aulos::Random random(5);
  nn::initialise_normal(model, random, 0.2);
  model.derive_buffers();
  return model;
}

// Two mixtures, separated.
template <class M>
std::vector<float> run(const M& model, Index samples, int threads = 1) {
  Context context({.threads = threads});
  const auto mix = context.empty<float>(Shape<2>{2, samples});
  for (Index i = 0; i < mix.count(); ++i) mix.mutable_data()[i] = static_cast<float>((i * 37 % 101) - 50) / 50.0F;
  const Tensor<float, 3> y = model(context, mix);
  EXPECT_EQ(y.shape(), (Shape<3>{2, samples, model.masknet.speakers}));
  return {y.data(), y.data() + y.count()};
}

}  // namespace sepformer_support
