// How the sides of a stream block meet: from every side's queries, keys and values to every side's result. The mixer is
// the coupling's argument, so any attention variant works in any coupling. A mixer's parameters stand where the block
// names its coupling; rules that it does not take do not compile.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <utility>

#include "aulos/attention/mixer.hpp"
#include "aulos/attention/softmax.hpp"
#include "aulos/core/config.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/attention.hpp"

namespace aulos::inline AULOS_ISA::stream {

template <Real T, std::size_t Sides>
using SidesOf = std::array<QueryKeyValue<T>, Sides>;
template <Real T, std::size_t Sides>
using Mixed = std::array<Tensor<T, 4>, Sides>;

// One attention over the tokens of all sides.
template <class Mixer = attention::Softmax>
struct Joint {
  Mixer mixer;

  template <Real T, std::size_t Sides, class... Rules>
  requires attention::Mixer<Mixer, T, Sides> Mixed<T, Sides>
  operator()(const SidesOf<T, Sides>& sides, const Rules&... rules) const {
    return attention::mix(mixer, sides, rules...);
  }
  void visit(auto&& v) { mixer.visit(v); }
};

// Each side by itself.
template <class Mixer = attention::Softmax>
struct SelfOnly {
  Mixer mixer;

  template <Real T, std::size_t Sides, class... Rules>
  requires attention::Mixer<Mixer, T, 1> Mixed<T, Sides>
  operator()(const SidesOf<T, Sides>& sides, const Rules&... rules) const {
    Mixed<T, Sides> out;
    for (std::size_t s = 0; s < Sides; ++s) {
      if (sides[s].q.empty()) continue;
      const SidesOf<T, 1> alone{sides[s]};
      out[s] = attention::mix(mixer, alone, rules...)[0];
    }
    return out;
  }
  void visit(auto&& v) { mixer.visit(v); }
};

// Two sides, each reading the keys and values of the other.
template <class Mixer = attention::Softmax>
struct CrossBothWays {
  Mixer mixer;

  template <Real T, class... Rules>
  requires attention::Mixer<Mixer, T, 1> Mixed<T, 2>
  operator()(const SidesOf<T, 2>& sides, const Rules&... rules) const {
    Mixed<T, 2> out;
    for (std::size_t s = 0; s < 2; ++s) {
      if (sides[s].q.empty()) continue;
      const SidesOf<T, 1> crossed{QueryKeyValue<T>{sides[s].q, sides[1 - s].k, sides[1 - s].v}};
      out[s] = attention::mix(mixer, crossed, rules...)[0];
    }
    return out;
  }
  void visit(auto&& v) { mixer.visit(v); }
};

template <class Coupling, class T, std::size_t Sides>
concept CouplingOf = nn::Module<Coupling> && requires(const Coupling& coupling, const SidesOf<T, Sides>& sides) {
  { coupling(sides) } -> std::same_as<Mixed<T, Sides>>;
};

}  // namespace aulos::inline AULOS_ISA::stream
