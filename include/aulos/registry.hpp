// From the name of a system to code that computes a golden case of it: what `verify` runs, and what users extend with
// their own modules. It includes no model: each family registers itself in a source file of its own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aulos/autograd/tape.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/numeric.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/json.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/nn/load.hpp"
#include "aulos/nn/module.hpp"

namespace aulos::inline AULOS_ISA {

// Numbers of a case: an output or a gradient, computed or read.
struct CaseValues {
  std::vector<Index> shape;
  std::vector<float> floats;           // of a float tensor
  std::vector<std::int64_t> integers;  // of an integer tensor
  bool integer = false;

  bool operator==(const CaseValues&) const = default;
};

// One golden case while it is computed. A factory takes weights and inputs from it by their names and gives outputs:
//
//     registry.add("my.module", [](Case& c) {
//       auto& module = c.module<MyModule<float>>(c.config().get<Index>("channels"));   // built, loaded from param/
//       c.output("y", module(c.input<3>("x")));
//     });
//
// The gradients of inputs, modules and parameters that went through it are found by themselves.
class Case {
 public:
  // Where the gradients of outputs are known (cotangent/*), a tape records. `checkpoint` is the case's file. In another
  // mode than exact, weights are packed in it; there are no gradients then.
  Case(io::Checkpoint checkpoint, int threads, bool gradients, Numeric numeric = Numeric::exact)
      : checkpoint_(std::move(checkpoint)), context_(ContextOptions{.threads = threads, .numeric = numeric}) {
    const std::string* config = checkpoint_.metadata().find("config");
    config_ = io::json::parse(config == nullptr ? "{}" : std::string_view(*config));
    if (gradients && numeric == Numeric::exact) tape_ = std::make_unique<GradTape>(context_);
  }

  Context& context() noexcept { return context_; }
  const io::json::Value& config() const noexcept { return config_; }
  const io::Checkpoint& checkpoint() const noexcept { return checkpoint_; }
  bool has_input(std::string_view name) const { return checkpoint_.find("input/" + std::string(name)) != nullptr; }

  // A float input, watched where gradients are asked for.
  template <int Rank>
  Tensor<float, Rank> input(const std::string& name) {
    Tensor<float, Rank> x = read<float, Rank>("input/" + name);
    if (tape_ != nullptr) {
      tape_->watch(x);
      inputs_.emplace_back(name, x.any());
    }
    return x;
  }
  // An integer or mask input.
  template <int Rank>
  Tensor<std::int64_t, Rank> indices(const std::string& name) {
    return read<std::int64_t, Rank>("input/" + name);
  }

  // A module built from `arguments` and filled from param/<prefix>...; it lives as long as the case.
  template <nn::Module M, class... Arguments>
  M& module(Arguments&&... arguments) {
    return module_at<M>("", std::forward<Arguments>(arguments)...);
  }
  template <nn::Module M, class... Arguments>
  M& module_at(const std::string& prefix, Arguments&&... arguments) {
    auto owned = std::make_shared<M>(std::forward<Arguments>(arguments)...);
    io::LoadOptions options{.prefix = "param/" + prefix};
    if (context_.numeric() != Numeric::exact) options.pack = context_.numeric();
    nn::load_parameters(*owned, checkpoint_, options);
    M& module = *owned;
    keep_.push_back(std::move(owned));
    add_parameters(module, prefix);
    return module;
  }

  // A parameter that belongs to no module.
  template <int Rank>
  Parameter<float, Rank>& parameter(const std::string& name) {
    const io::TensorInfo& info = checkpoint_.info("param/" + name);
    auto owned = std::make_shared<Parameter<float, Rank>>(shape_of<Rank>(info));
    checkpoint_.read(info, owned->data(), owned->count());
    Parameter<float, Rank>& parameter = *owned;
    keep_.push_back(std::move(owned));
    parameters_.push_back({name, std::vector<Index>(info.shape.begin(), info.shape.end()), parameter.any()});
    return parameter;
  }

  template <int Rank>
  void output(const std::string& name, const Tensor<float, Rank>& y) {
    outputs_.emplace_back(name, y.any());
    results_["output/" + name] = values(y.any());
  }
  // Numbers that were computed outside tensors.
  void output(const std::string& name, std::vector<Index> shape, std::vector<float> numbers) {
    results_["output/" + name] = {std::move(shape), std::move(numbers), {}, false};
  }
  void output(const std::string& name, std::vector<Index> shape, std::vector<std::int64_t> numbers) {
    results_["output/" + name] = {std::move(shape), {}, std::move(numbers), true};
  }

  // Differentiates sum(output * cotangent) and returns everything computed: output/*, grad_input/*, grad_param/*. What
  // has no influence has a gradient of zeros.
  std::map<std::string, CaseValues> finish() {
    if (tape_ != nullptr) {
      std::vector<Seed<float>> seeds;
      for (const auto& [name, y] : outputs_) {
        const std::string cotangent = "cotangent/" + name;
        if (const io::TensorInfo* info = checkpoint_.find(cotangent)) {
          AnyTensor<float> c = context_.empty_any<float>(y.dims());
          checkpoint_.read(*info, c.mutable_data(), c.count());
          seeds.push_back({y, c});
        }
      }
      tape_->backward(std::span<const Seed<float>>(seeds));
      for (const auto& [name, x] : inputs_) results_["grad_input/" + name] = gradient(x);
      for (const NamedParameter& p : parameters_) {
        CaseValues& values = results_["grad_param/" + p.name] = gradient(p.any);
        values.shape = p.shape;  // as the checkpoint has it: a convolution's weight is a matrix inside
      }
    }
    return results_;
  }

 private:
  struct NamedParameter {
    std::string name;
    std::vector<Index> shape;
    AnyTensor<float> any;
  };

  template <int Rank>
  static Shape<Rank> shape_of(const io::TensorInfo& info) {
    if (info.shape.size() != static_cast<std::size_t>(Rank))
      throw ShapeError(concat_text({"case: ", info.name, " has ", info.shape.size(), " axes, expected ", Rank}));
    Shape<Rank> shape{};
    for (int axis = 0; axis < Rank; ++axis) shape[axis] = info.shape[static_cast<std::size_t>(axis)];
    return shape;
  }

  template <Element T, int Rank>
  Tensor<T, Rank> read(const std::string& name) {
    const io::TensorInfo& info = checkpoint_.info(name);
    Tensor<T, Rank> x = context_.empty<T, Rank>(shape_of<Rank>(info));
    checkpoint_.read(info, x.mutable_data(), x.count());
    return x;
  }

  template <class M>
  void add_parameters(const M& module, const std::string& prefix) {
    nn::for_each_parameter(module, [&](const auto& p) {
      if (p.role == nn::Role::parameter) parameters_.push_back({prefix + p.name, p.shape, p.any()});
    });
  }

  static CaseValues values(const AnyTensor<float>& x) {
    CaseValues out;
    for (int axis = 0; axis < x.rank(); ++axis) out.shape.push_back(x.extent(axis));
    out.floats.resize(static_cast<std::size_t>(x.count()));
    if (x.count() > 0)
      kernels::copy(Threads::serial(), x.data(), x.dims(), out.floats.data(), dense_dims(x.dims().extent, x.rank()));
    return out;
  }

  CaseValues gradient(const AnyTensor<float>& x) {
    const AnyTensor<float> g = tape_->gradient(x);
    if (!g.empty()) return values(g);
    CaseValues zero;
    for (int axis = 0; axis < x.rank(); ++axis) zero.shape.push_back(x.extent(axis));
    zero.floats.assign(static_cast<std::size_t>(x.count()), 0.0f);
    return zero;
  }

  io::Checkpoint checkpoint_;
  io::json::Value config_;
  std::vector<std::shared_ptr<void>> keep_;
  Context context_;
  std::unique_ptr<GradTape> tape_;
  std::vector<std::pair<std::string, AnyTensor<float>>> inputs_, outputs_;
  std::vector<NamedParameter> parameters_;
  std::map<std::string, CaseValues> results_;
};

// Systems by name.
class Registry {
 public:
  using Factory = std::function<void(Case&)>;

  // Throws Error when the system is known already.
  void add(std::string system, Factory factory) {
    if (!factories_.emplace(system, std::move(factory)).second)
      throw Error(concat_text({"registry: system ", system, " is registered twice"}));
  }

  // Null for a system that nobody registered.
  const Factory* find(std::string_view system) const {
    const auto found = factories_.find(system);
    return found == factories_.end() ? nullptr : &found->second;
  }

  std::vector<std::string> systems() const {
    std::vector<std::string> names;
    for (const auto& [name, factory] : factories_) names.push_back(name);
    return names;
  }

 private:
  std::map<std::string, Factory, std::less<>> factories_;
};

}  // namespace aulos::inline AULOS_ISA
