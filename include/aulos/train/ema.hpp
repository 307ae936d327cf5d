// Exponential moving average of a model's parameters.
#pragma once

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/kernels/optimizer.hpp"
#include "aulos/nn/module.hpp"

namespace aulos::inline AULOS_ISA::train {

// How the decay starts: at once, or min(decay, (1 + i) / (10 + i)) at update i = 0, 1, ...
enum class EmaWarmup { none, tenths };

// A copy of the model that follows it: average = d average + (1 - d) parameter after each step. Derived buffers stay as
// they were copied.
template <nn::Module M>
class Ema {
 public:
  Ema(const M& model, double decay, EmaWarmup warmup = EmaWarmup::none)
      : average_(model), decay_(decay), warmup_(warmup) {
    if (!(decay >= 0 && decay <= 1)) throw ConfigError("ema: decay is " + std::to_string(decay) + ", expected 0 to 1");
  }

  void update(Context& context, const M& model) {
    std::vector<const void*> from;
    nn::for_each_parameter(model, [&](const auto& p) {
      if (p.role == nn::Role::parameter) from.push_back(weights_of(p));
    });
    const double i = static_cast<double>(updates_++);
    const double decay = warmup_ == EmaWarmup::tenths ? (std::min)(decay_, (1 + i) / (10 + i)) : decay_;
    std::size_t at = 0;
    nn::for_each_parameter(average_, [&](const auto& p) {
      if (p.role != nn::Role::parameter) return;
      if (at == from.size()) throw Error("ema: the model lacks " + p.name + ", which its average has");
      auto* average = p.data();
      using T = std::remove_reference_t<decltype(*average)>;
      const T* w = static_cast<const T*>(from[at++]);
      context.run("ema", cost_per_element<T>(p.count(), 3, 3),
                  [&](Threads threads) { kernels::ema<T>(threads, decay, w, average, p.count()); });
    });
  }

  const M& model() const noexcept { return average_; }
  Index updates() const noexcept { return updates_; }
  void restore(M average, Index updates) {
    average_ = std::move(average);
    updates_ = updates;
  }

 private:
  template <Real T>
  static const T* weights_of(const nn::ParameterRef<T>& p) {
    if (p.weight != nullptr && p.weight->packed())
      throw Error("ema: " + p.name + " is packed for inference: unpack first");
    return p.any().data();
  }

  M average_;
  double decay_;
  EmaWarmup warmup_;
  Index updates_ = 0;
};

}  // namespace aulos::inline AULOS_ISA::train
