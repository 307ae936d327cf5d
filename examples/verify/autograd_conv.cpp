// autograd: convolutions and resampling.
#include "aulos/nn/conv.hpp"
#include "aulos/ops/interpolate.hpp"
#include "aulos/ops/patch.hpp"
#include "aulos/ops/pooling.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

void conv_case(Case& c) {
  const auto x1 = c.input<3>("x1");
  const auto x2 = c.input<4>("x2");
  const Index in = x2.extent(1);
  const auto channels = [&](const char* bias) { return c.checkpoint().info(std::string("param/") + bias).shape[0]; };
  const io::json::Value::Array size = c.config().get<io::json::Value::Array>("bilinear");

  const auto& c1 =
      c.module_at<nn::Conv1d<float>>("c1.", x1.extent(1), channels("c1.bias"), 3,
                                     ConvOptions<1>{.stride = c.config().get<Index>("stride1"), .padding = 1});
  c.output("conv1d", c1(x1));
  const Index taps = c.checkpoint().info("param/dw1.weight").shape[2];
  const auto& dw1 =
      c.module_at<nn::Conv1d<float>>("dw1.", x1.extent(1), x1.extent(1), taps,
                                     ConvOptions<1>{.padding = causal_padding(taps), .groups = x1.extent(1)});
  c.output("conv1d_causal_depthwise", dw1(x1));
  const auto& c2 = c.module_at<nn::Conv2d<float>>(
      "c2.", in, channels("c2.bias"), 3, ConvOptions<2>{.stride = c.config().get<Index>("stride2"), .padding = 1});
  c.output("conv2d", c2(x2));
  const auto& dw2 = c.module_at<nn::Conv2d<float>>("dw2.", in, in, 3, ConvOptions<2>{.padding = 1, .groups = in});
  c.output("conv2d_depthwise", dw2(x2));
  const auto& ct =
      c.module_at<nn::ConvTranspose2d<float>>("ct.", in, channels("ct.bias"), 2, ConvTransposeOptions<2>{.stride = 2});
  c.output("conv_transpose2d", ct(x2));
  const auto& pe = c.module_at<nn::Conv2d<float>>("pe.", in, channels("pe.bias"), 2, ConvOptions<2>{.stride = 2});
  c.output("patchify", pe(x2));

  c.output("avg_pool2d", avg_pool2d(x2, {.kernel = 2}));
  c.output("upsample_nearest", interpolate(x2, {.factor = 2.0}));
  c.output("upsample_bilinear",
           interpolate(x2, {.size = {size[0].as<Index>(), size[1].as<Index>()}, .mode = Interpolation::linear}));
}

}  // namespace

void add_autograd_conv(Registry& registry) { registry.add("autograd.conv", conv_case); }

}  // namespace verify
