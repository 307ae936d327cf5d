#include "aulos/registry.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "aulos/nn/linear.hpp"
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "support/case_file.hpp"

namespace {

using namespace case_support;
using aulos::Case;
using aulos::Parameter;
using aulos::Registry;
using aulos::Shape;

// A user's own module: y = silu(x W^T + b) * scale, and a parameter that nothing reads.
struct Mine {
  aulos::nn::Linear<float> linear;
  Parameter<float, 1> scale, idle;

  explicit Mine(Index channels) : linear(channels, channels), scale(Shape<1>{channels}), idle(Shape<1>{3}) {}
  aulos::Tensor<float, 3> operator()(const aulos::Tensor<float, 3>& x) const {
    return multiply(linear(x, aulos::Activation::silu), scale.tensor().reshape(Shape<3>{1, 1, scale.count()}));
  }
  void visit(auto&& v) {
    v("linear", linear);
    v("scale", scale);
    v("idle", idle);
  }
};

const std::vector<float> weight = {0.5f, -1, 2, 0.25f}, bias = {0.1f, -0.2f}, scale = {2, -3},
                         input = {1, 2, -0.5f, 0.75f}, cotangent = {1, -1, 0.5f, 2};

File mine() {
  File file;
  file.floats("param/linear.weight", {2, 2}, weight).floats("param/linear.bias", {2}, bias);
  file.floats("param/scale", {2}, scale).floats("param/idle", {3}, {7, 8, 9});
  file.floats("input/x", {1, 2, 2}, input).floats("input/unused", {2}, {1, 1});
  file.floats("cotangent/y", {1, 2, 2}, cotangent);
  return file;
}

void compute(Case& c) {
  auto& module = c.module<Mine>(c.config().get<Index>("channels"));
  c.input<1>("unused");
  c.output("y", module(c.input<3>("x")));
}

// Results and all gradients, written out.
TEST(RegistryCases, AUsersModule) {
  Registry registry;
  registry.add("my.module", compute);
  const Registry::Factory* factory = registry.find("my.module");
  ASSERT_NE(factory, nullptr);
  for (const int threads : {1, 2}) {
    Case c(mine().checkpoint("{\"channels\": 2}"), threads, true);
    (*factory)(c);
    const auto results = c.finish();
    std::vector<double> y(4), gx(4), gw(4), gb(2), gs(2);
    for (std::size_t n = 0; n < 2; ++n) {
      for (std::size_t o = 0; o < 2; ++o) {
        double z = static_cast<double>(bias[o]);
        for (std::size_t i = 0; i < 2; ++i)
          z += static_cast<double>(weight[o * 2 + i]) * static_cast<double>(input[n * 2 + i]);
        const double s = 1 / (1 + std::exp(-z)), by = static_cast<double>(scale[o]);
        const double g = static_cast<double>(cotangent[n * 2 + o]);
        y[n * 2 + o] = z * s * by;
        gs[o] += g * z * s;
        const double gz = g * by * s * (1 + z * (1 - s));
        gb[o] += gz;
        for (std::size_t i = 0; i < 2; ++i) {
          gw[o * 2 + i] += gz * static_cast<double>(input[n * 2 + i]);
          gx[n * 2 + i] += gz * static_cast<double>(weight[o * 2 + i]);
        }
      }
    }
    expect_near(results.at("output/y"), {1, 2, 2}, y);
    expect_near(results.at("grad_input/x"), {1, 2, 2}, gx);
    expect_near(results.at("grad_input/unused"), {2}, {0, 0});  // without influence: zeros
    expect_near(results.at("grad_param/linear.weight"), {2, 2}, gw);
    expect_near(results.at("grad_param/linear.bias"), {2}, gb);
    expect_near(results.at("grad_param/scale"), {2}, gs);
    expect_near(results.at("grad_param/idle"), {3}, {0, 0, 0});
    EXPECT_EQ(results.size(), 7u);
  }
}

TEST(RegistryCases, WithoutGradients) {
  Case c(mine().checkpoint("{\"channels\": 2}"), 1, false);
  compute(c);
  const auto results = c.finish();
  EXPECT_EQ(results.size(), 1u);
  EXPECT_EQ(results.count("output/y"), 1u);
}

// Parameters of no module, modules under a prefix, a weight used twice, integers, numbers computed elsewhere.
TEST(RegistryCases, TheRestOfACase) {
  File file;
  file.floats("param/w", {2}, {3, 5}).floats("param/deep.weight", {1, 2}, {1, 2}).floats("param/deep.bias", {1}, {4});
  file.floats("input/x", {1, 2}, {10, 20}).integers("input/ids", {3}, {2, 0, 1});
  file.floats("cotangent/y", {1, 1}, {1}).floats("cotangent/z", {2}, {1, 1});
  Case c(file.checkpoint(), 1, true);
  EXPECT_TRUE(c.has_input("ids"));
  EXPECT_FALSE(c.has_input("mask"));
  const auto ids = c.indices<1>("ids");
  EXPECT_EQ(ids.data()[0], 2);
  auto& deep = c.module_at<aulos::nn::Linear<float>>("deep.", 2, 1);
  auto& w = c.parameter<1>("w");
  const auto x = c.input<2>("x");
  c.output("y", deep(x));
  c.output("z", multiply(w.tensor(), multiply(w.tensor(), x.reshape(Shape<1>{2}))));  // y = w (w x)
  c.output("count", {1}, std::vector<std::int64_t>{42});
  c.output("list", {2}, std::vector<float>{1, 2});
  const auto results = c.finish();
  expect_near(results.at("output/y"), {1, 1}, {54});
  expect_near(results.at("output/z"), {2}, {90, 500});
  expect_near(results.at("grad_param/deep.weight"), {1, 2}, {10, 20});
  expect_near(results.at("grad_param/deep.bias"), {1}, {1});
  expect_near(results.at("grad_param/w"), {2}, {60, 200});           // 2 w x
  expect_near(results.at("grad_input/x"), {1, 2}, {1 + 9, 2 + 25});  // of both outputs
  EXPECT_TRUE(results.at("output/count").integer);
  EXPECT_EQ(results.at("output/count").integers, std::vector<std::int64_t>{42});
  EXPECT_EQ(results.at("output/list").floats, (std::vector<float>{1, 2}));
}

// An output without a cotangent counts for nothing.
TEST(RegistryCases, OutputsWithoutCotangent) {
  File file;
  file.floats("input/x", {1, 2}, {10, 20}).floats("param/weight", {1, 2}, {1, 2}).floats("param/bias", {1}, {4});
  Case c(file.checkpoint(), 1, true);
  c.output("y", c.module<aulos::nn::Linear<float>>(2, 1)(c.input<2>("x")));
  const auto results = c.finish();
  expect_near(results.at("output/y"), {1, 1}, {54});
  expect_near(results.at("grad_input/x"), {1, 2}, {0, 0});
  expect_near(results.at("grad_param/weight"), {1, 2}, {0, 0});
}

TEST(RegistryCaseErrors, WhatTheCaseLacks) {
  const auto text = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const aulos::Error& error) {
      return error.what();
    }
    return "no error";
  };
  Case c(mine().checkpoint("{\"channels\": 2}"), 1, true);
  EXPECT_NE(text([&] { c.input<3>("z"); }).find("input/z"), std::string::npos);
  EXPECT_EQ(text([&] { c.input<2>("x"); }), "case: input/x has 3 axes, expected 2");
  EXPECT_NE(text([&] { c.parameter<1>("none"); }).find("param/none"), std::string::npos);
  EXPECT_NE(text([&] { c.module<Mine>(3); }).find("linear.weight"), std::string::npos);  // another shape
  EXPECT_NE(text([&] { c.config().get<Index>("heads"); }).find("heads"), std::string::npos);
}

TEST(RegistryOfSystems, AddAndFind) {
  Registry registry;
  EXPECT_EQ(registry.find("b"), nullptr);
  EXPECT_TRUE(registry.systems().empty());
  int called = 0;
  registry.add("b", [&](Case&) { called = 1; });
  registry.add("a", [&](Case&) { called = 2; });
  EXPECT_EQ(registry.systems(), (std::vector<std::string>{"a", "b"}));
  Case c(File().checkpoint(), 1, false);
  (*registry.find("a"))(c);
  EXPECT_EQ(called, 2);
  EXPECT_EQ(registry.find("ab"), nullptr);
  try {
    registry.add("a", [](Case&) {});
    ADD_FAILURE() << "no error";
  } catch (const aulos::Error& error) {
    EXPECT_STREQ(error.what(), "registry: system a is registered twice");
  }
  (*registry.find("a"))(c);
  EXPECT_EQ(called, 2);  // the first stays
}

}  // namespace
