// Optimizers: AdamW and SGD, exactly as in PyTorch.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "aulos/autograd/tape.hpp"
#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/kernels/optimizer.hpp"
#include "aulos/nn/module.hpp"

namespace aulos::inline AULOS_ISA::train {

// Whether weight decay applies to a parameter.
enum class Decay { all, matrices_only };  // matrices_only: not to biases, norms and other vectors

// One parameter's share of an optimizer's state.
template <Real T>
struct Moments {
  std::string name;
  std::vector<T> first, second;  // m and v of AdamW; the momentum buffer of SGD is `first`
  Index steps = 0;               // updates with a gradient of this parameter: its bias corrections count them
};

namespace detail {

inline bool decays(Decay decay, std::size_t axes) noexcept { return decay == Decay::all || axes > 1; }

// Calls f(parameter, gradient, moments) for every trainable parameter that has a gradient.
template <Real T, nn::Module M, class F>
void for_each_gradient(M& model, const GradTape& tape, std::vector<Moments<T>>& state, F&& f) {
  std::size_t i = 0;
  nn::for_each_parameter(model, [&](const auto& p) {
    const std::size_t at = i++;
    if (at == state.size()) state.push_back({p.name, {}, {}, 0});
    if (state[at].name != p.name)
      throw Error("optimizer: the model has " + p.name + " where the optimizer's state has " + state[at].name);
    const AnyTensor<T> gradient = tape.gradient(p.any());
    if (!gradient.empty()) f(p, gradient, state[at]);
  });
}

}  // namespace detail

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  Decay decay = Decay::all;
};

// torch.optim.AdamW. Options may change between steps; moments and the step count go on.
template <Real T>
class AdamW {
 public:
  AdamWOptions options;

  AdamW() = default;
  explicit AdamW(const AdamWOptions& of) : options(of) {}

  // One update with the gradients of `tape`. A parameter without gradient stays as it is, moments included.
  template <nn::Module M>
  void step(M& model, const GradTape& tape, double lr) {
    ++step_;
    detail::for_each_gradient(model, tape, state_, [&](const auto& p, const AnyTensor<T>& gradient, Moments<T>& s) {
      const std::size_t n = static_cast<std::size_t>(p.count());
      if (s.first.size() != n) s.first.assign(n, T{0});
      if (s.second.size() != n) s.second.assign(n, T{0});
      ++s.steps;
      const kernels::AdamWCoefficients c{lr,
                                         options.beta1,
                                         options.beta2,
                                         options.eps,
                                         detail::decays(options.decay, p.shape.size()) ? options.weight_decay : 0.0,
                                         s.steps};
      tape.context().run("adamw", cost_per_element<T>(p.count(), 12, 7), [&](Threads threads) {
        kernels::adamw<T>(threads, c, gradient.data(), s.first.data(), s.second.data(), p.data(), p.count());
      });
    });
  }

  // The state, to be saved and restored: calls of step(), and the moments in the order of the model's walk.
  Index steps() const noexcept { return step_; }
  const std::vector<Moments<T>>& state() const noexcept { return state_; }
  void restore(Index steps, std::vector<Moments<T>> state) {
    step_ = steps;
    state_ = std::move(state);
  }

 private:
  Index step_ = 0;
  std::vector<Moments<T>> state_;
};

struct SgdOptions {
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  Decay decay = Decay::all;
};

// torch.optim.SGD.
template <Real T>
class Sgd {
 public:
  SgdOptions options;

  Sgd() = default;
  explicit Sgd(const SgdOptions& of) : options(of) {}

  template <nn::Module M>
  void step(M& model, const GradTape& tape, double lr) {
    detail::for_each_gradient(model, tape, state_, [&](const auto& p, const AnyTensor<T>& gradient, Moments<T>& s) {
      const bool first = s.first.empty();
      if (first && options.momentum != 0) s.first.assign(static_cast<std::size_t>(p.count()), T{0});
      ++s.steps;
      const kernels::SgdCoefficients c{lr,
                                       options.momentum,
                                       options.dampening,
                                       detail::decays(options.decay, p.shape.size()) ? options.weight_decay : 0.0,
                                       options.nesterov,
                                       first};
      tape.context().run("sgd", cost_per_element<T>(p.count(), 4, 4), [&](Threads threads) {
        kernels::sgd<T>(threads, c, gradient.data(), s.first.data(), p.data(), p.count());
      });
    });
  }

  const std::vector<Moments<T>>& state() const noexcept { return state_; }
  void restore(std::vector<Moments<T>> state) { state_ = std::move(state); }

 private:
  std::vector<Moments<T>> state_;
};

}  // namespace aulos::inline AULOS_ISA::train
