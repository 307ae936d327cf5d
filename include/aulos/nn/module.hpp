// Modules: plain structs with `visit`, the only reflection. Loading, saving, counting, optimising and packing walk it.
#pragma once

#include <array>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/ops/weight.hpp"

namespace aulos::inline AULOS_ISA::nn {

// What a checkpoint must hold of a tensor: parameters are required; a buffer that can be derived may be missing.
enum class Role { parameter, derived_buffer };

// One parameter as a walk meets it, whatever its rank: `weight` is set where a linear's weight stands behind it.
template <Real T>
struct ParameterRef {
  std::string name;  // official, "transformer_blocks.0.attn.to_q.weight"
  std::vector<Index> shape;
  Role role = Role::parameter;
  Weight<T>* weight = nullptr;
  void* parameter = nullptr;  // a Parameter<T, Rank>, through the functions below
  T* (*write)(void*) = nullptr;
  AnyTensor<T> (*read)(const void*) = nullptr;

  Index count() const noexcept {
    Index n = 1;
    for (Index extent : shape) n *= extent;
    return n;
  }
  // The elements for writing, allocated if need be. A packed weight is unpacked.
  T* data() const {
    if (weight != nullptr) weight->unpack();
    return write(parameter);
  }
  // The parameter as an uncounted tensor.
  AnyTensor<T> any() const { return read(parameter); }
};

namespace detail {

template <class M>
struct IsParameter : std::false_type {};
template <class T, int Rank>
struct IsParameter<Parameter<T, Rank>> : std::true_type {};
template <class M>
struct IsWeight : std::false_type {};
template <class T>
struct IsWeight<Weight<T>> : std::true_type {};
template <class M>
struct IsList : std::false_type {};
template <class M>
struct IsList<std::vector<M>> : std::true_type {};
template <class M, std::size_t Count>
struct IsList<std::array<M, Count>> : std::true_type {};
template <class M>
struct IsOptional : std::false_type {};
template <class M>
struct IsOptional<std::optional<M>> : std::true_type {};

template <Real T, int Rank>
ParameterRef<T> reference(std::string name, Parameter<T, Rank>& parameter, Role role) {
  const Shape<Rank> shape = parameter.shape();
  ParameterRef<T> ref{
      std::move(name), std::vector<Index>(shape.begin(), shape.end()), role, nullptr, &parameter, nullptr, nullptr};
  ref.write = [](void* p) { return static_cast<Parameter<T, Rank>*>(p)->data(); };
  ref.read = [](const void* p) { return static_cast<const Parameter<T, Rank>*>(p)->any(); };
  return ref;
}

// The visitor that modules call: v("name", member). Lists count their elements, absent members are passed over.
template <class F>
class Walker {
 public:
  Walker(F& f, std::string prefix) : f_(f), prefix_(std::move(prefix)) {}

  template <class M>
  void operator()(std::string_view name, M& member, Role role = Role::parameter) {
    if constexpr (IsParameter<M>::value) {
      if (!member.empty()) f_(reference(join(name), member, role));
    } else if constexpr (IsWeight<M>::value) {
      if (member.empty()) return;
      auto ref = reference(join(name), member.rows(), role);
      ref.shape = member.stored_shape();
      ref.weight = &member;
      f_(std::move(ref));
    } else if constexpr (IsList<M>::value) {
      for (std::size_t i = 0; i < member.size(); ++i)
        (*this)(name.empty() ? std::to_string(i) : std::string(name) + '.' + std::to_string(i), member[i], role);
    } else if constexpr (IsOptional<M>::value) {
      if (member) (*this)(name, *member, role);
    } else {
      Walker inner(f_, join(name));
      member.visit(inner);
    }
  }

 private:
  std::string join(std::string_view name) const {
    if (prefix_.empty()) return std::string(name);
    if (name.empty()) return prefix_;
    return prefix_ + '.' + std::string(name);
  }

  F& f_;
  std::string prefix_;
};

struct AnyVisitor {
  template <class M>
  void operator()(std::string_view, M&, Role = Role::parameter) {}
};

}  // namespace detail

// A module: a regular struct that names its members. visit(v) calls v("name", member) for each, in a fixed order, with
// the official names; members are parameters, weights, modules, or lists or optionals of them.
template <class M>
concept Module = std::copyable<M> && requires(M& m, detail::AnyVisitor& v) {
  m.visit(v);
};

// Calls f(ParameterRef<T>) for every parameter that the module has.
template <Module M, class F>
void for_each_parameter(M& module, F&& f, std::string prefix = {}) {
  detail::Walker<std::remove_reference_t<F>> walker(f, std::move(prefix));
  module.visit(walker);
}
// The same for a const module: f must not write.
template <Module M, class F>
void for_each_parameter(const M& module, F&& f, std::string prefix = {}) {
  for_each_parameter(const_cast<M&>(module), std::forward<F>(f), std::move(prefix));
}

// Elements of all parameters; derived buffers do not count.
template <Module M>
Index parameter_count(const M& module) {
  Index count = 0;
  for_each_parameter(module, [&](const auto& parameter) {
    if (parameter.role == Role::parameter) count += parameter.count();
  });
  return count;
}

// Packs every linear weight for inference: faster products, in bf16 half the memory. The rows are gone until unpacked.
template <Module M>
void pack(M& module, kernels::PanelType type = kernels::PanelType::same) {
  for_each_parameter(module, [&](const auto& parameter) {
    if (parameter.weight != nullptr) parameter.weight->pack(type);
  });
}

template <Module M>
void unpack(M& module) {
  for_each_parameter(module, [](const auto& parameter) {
    if (parameter.weight != nullptr) parameter.weight->unpack();
  });
}

}  // namespace aulos::inline AULOS_ISA::nn
