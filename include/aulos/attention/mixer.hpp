// What a mixer is: the attention between the projections of a block. Every block of stream/ and path/ takes one as a
// type.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "aulos/core/config.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/attention.hpp"

namespace aulos::inline AULOS_ISA::attention {

enum class MixerKind { softmax, linear, differential, other };
// How a token is kept from seeing later ones: not at all, by a mask rule of the call, by an option of the mixer.
enum class CausalForm { none, by_rule, by_option };
enum class MixerParameters { none, owned };
// Of the work, in the number of tokens.
enum class Complexity { linear, quadratic };
// What stands for the past when tokens come one after the other: nothing does; earlier keys and values, which the
// caller keeps and gives again; a state of fixed size, with which step() goes on.
enum class StreamingForm { none, key_value_cache, state };
// exact: every pair that the rules keep counts. approximate: pairs are left out or merged (samples, hashes, landmarks).
enum class Exactness { exact, approximate };
// Which masks and scores a call may bring: none, masks that drop whole keys (KeepKeys), any.
enum class RuleSet { none, keys, any };

// What a mixer says of itself, as M::traits.
struct MixerTraits {
  MixerKind kind = MixerKind::other;
  CausalForm causal = CausalForm::none;
  MixerParameters parameters = MixerParameters::none;
  Complexity complexity = Complexity::quadratic;
  StreamingForm streaming = StreamingForm::none;
  Exactness exactness = Exactness::exact;
  RuleSet rules = RuleSet::none;
  Index heads_per_result = 1;  // heads of q, and of k and v, to one head of the result, which is as many times wider
};

// Whether a call of the mixer may bring these rules.
template <class M, class T, std::size_t Sides, class... Rules>
concept TakesRules = requires(const M& mixer, const std::array<QueryKeyValue<T>, Sides>& sides, const Rules&... rules) {
  { mixer(sides, rules...) } -> std::same_as<std::array<Tensor<T, 4>, Sides>>;
};

// mixer(sides, rules...); where it takes no such rules, the compiler says only that. Blocks and couplings call it so.
template <class M, Real T, std::size_t Sides, class... Rules>
std::array<Tensor<T, 4>, Sides> mix(const M& mixer, const std::array<QueryKeyValue<T>, Sides>& sides,
                                    const Rules&... rules) {
  constexpr bool takes = TakesRules<M, T, Sides, Rules...>;
  static_assert(takes, "the mixer takes no such masks or scores: see its traits");
  if constexpr (takes)
    return mixer(sides, rules...);
  else
    return {};
}

namespace detail {

template <class M, class T>
concept Steps = requires(const M& mixer, typename M::template State<T>& state, const QueryKeyValue<T>& tokens) {
  { mixer.step(state, tokens) } -> std::same_as<Tensor<T, 4>>;
};

template <class M, class T>
concept OwnsParametersOf = std::same_as<typename M::value_type, T>;

// Whether what a mixer says of itself is so.
template <class M, class T, std::size_t Sides>
constexpr bool traits_hold() {
  constexpr MixerTraits says = M::traits;
  const bool any_rule = says.rules == RuleSet::any;
  if (TakesRules<M, T, Sides, KeepKeys> != (says.rules != RuleSet::none)) return false;
  if (TakesRules<M, T, Sides, kernels::Causal> != any_rule) return false;
  if (TakesRules<M, T, Sides, kernels::NoMask, kernels::SoftCap> != any_rule) return false;
  if (says.causal == CausalForm::by_rule && !any_rule) return false;
  if (says.streaming == StreamingForm::state && !Steps<M, T>) return false;
  return says.parameters == MixerParameters::none || OwnsParametersOf<M, T>;
}

}  // namespace detail

// A mixer whose past is a state: step(state, tokens) gives the results of one or more new tokens and moves the state
// behind them. The default state is that before the first token. However a sequence is cut into steps, the results are
// those of the whole.
template <class M, class T>
concept StreamingMixer = (M::traits.streaming == StreamingForm::state) && detail::Steps<M, T>;

// mixer(sides, rules...): queries, keys and values [B, N_s, H, D] of S sides in; results [B, N_s, H', D'] of the sides
// that have queries out, H' D' = H D, as if the sides were one sequence. Rules count over the joint sequence. What its
// traits say is checked: the rules that it takes, step() where it has a state, a value_type where it owns parameters
// (which visit() names, as in every module).
template <class M, class T, std::size_t Sides>
concept Mixer = nn::Module<M> && TakesRules<M, T, Sides> && std::same_as<decltype(M::traits), const MixerTraits> &&
    detail::traits_hold<M, T, Sides>();

}  // namespace aulos::inline AULOS_ISA::attention
