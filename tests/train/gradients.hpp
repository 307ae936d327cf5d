// A model whose gradients a test chooses.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "aulos/autograd/tape.hpp"
#include "aulos/core/context.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/arithmetic.hpp"

namespace train_support {

using aulos::Context;
using aulos::GradTape;
using aulos::Index;
using aulos::Parameter;
using aulos::Shape;

// A matrix, two vectors, and a table that is derived.
template <class T>
struct Model {
  Parameter<T, 2> matrix{Shape<2>{3, 5}};
  Parameter<T, 1> vector{Shape<1>{4}}, other{Shape<1>{2}}, table{Shape<1>{3}};

  Model() {
    table.set_trainable(false);
    fill(*this, 0.1);
  }
  void visit(auto&& v) {
    v("matrix", matrix);
    v("vector", vector);
    v("other", other);
    v("table", table, aulos::nn::Role::derived_buffer);
  }
  bool operator==(const Model&) const = default;

  static void fill(Model& model, double start) {
    aulos::nn::for_each_parameter(model, [&](const auto& p) {
      for (Index i = 0; i < p.count(); ++i) p.data()[i] = static_cast<T>(start + 0.37 * static_cast<double>(i % 7));
      start -= 0.2;
    });
  }
};

// Gives element i of every parameter that `wants` the gradient value(name, i).
template <class T>
void give_gradients(
    GradTape& tape, const Model<T>& model, const std::function<double(const std::string&, Index)>& value,
    const std::function<bool(const std::string&)>& wants = [](const std::string&) { return true; }) {
  Context& context = tape.context();
  std::vector<aulos::Seed<T>> seeds;
  aulos::nn::for_each_parameter(model, [&](const auto& p) {
    if (!wants(p.name)) return;
    const aulos::AnyTensor<T> w = p.any();
    aulos::AnyTensor<T> cotangent = context.template empty_any<T>(w.dims());
    for (Index i = 0; i < w.count(); ++i) cotangent.mutable_data()[i] = static_cast<T>(value(p.name, i));
    seeds.push_back({w, cotangent});
  });
  tape.backward(std::span<const aulos::Seed<T>>(seeds));
}

template <class T, int Rank>
std::vector<T> values(const Parameter<T, Rank>& p) {
  return std::vector<T>(p.data(), p.data() + p.count());
}

template <class T, int Rank>
std::vector<T> values(const aulos::Tensor<T, Rank>& x) {
  return std::vector<T>(x.data(), x.data() + x.count());
}

}  // namespace train_support
