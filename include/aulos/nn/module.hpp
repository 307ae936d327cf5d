// Modules: plain structs with `visit`, the only reflection. Loading, saving, counting, optimising and packing walk it.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/function_ref.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/ops/weight.hpp"

namespace aulos::inline AULOS_ISA::nn {

// What a checkpoint must hold of a tensor: parameters are required; a buffer that can be derived may be missing.
enum class Role { parameter, derived_buffer };

// The official name of a parameter, "transformer_blocks.0.attn.to_q.weight", put together only when somebody reads it:
// an optimizer walks the whole model at every step.
class ParameterName {
 public:
  struct Level {
    const Level* up;
    std::string_view name;  // may be empty
    Index index = -1;       // in a list
  };

  explicit ParameterName(const Level& level) noexcept : level_(&level) {}

  std::string text() const {
    std::string text;
    append(*level_, text);
    return text;
  }
  operator std::string() const { return text(); }  // NOLINT(google-explicit-constructor)

  friend bool operator==(const ParameterName& a, std::string_view b) noexcept {
    return strip(*a.level_, b) && b.empty();
  }
  friend std::string operator+(std::string_view a, const ParameterName& b) { return std::string(a) + b.text(); }
  friend std::string operator+(const ParameterName& a, std::string_view b) { return a.text().append(b); }
  template <class Stream>
  requires requires(Stream& stream, std::string text) { stream << text; }
  friend Stream& operator<<(Stream& stream, const ParameterName& name) {
    stream << name.text();
    return stream;
  }

 private:
  // Calls f with the parts of the level's own name, dots between them left out.
  template <class F>
  static bool each_part(const Level& level, F&& f) {
    if (!level.name.empty() && !f(level.name)) return false;
    if (level.index < 0) return true;
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, level.index).ptr;
    return f(std::string_view(digits, static_cast<std::size_t>(end - digits)));
  }

  static void append(const Level& level, std::string& text) {
    if (level.up != nullptr) append(*level.up, text);
    each_part(level, [&](std::string_view part) {
      if (!text.empty()) text += '.';
      text += part;
      return true;
    });
  }

  // Takes the name of the level, and the dot behind it, off the front of `text`; false where it begins otherwise.
  static bool strip(const Level& level, std::string_view& text) noexcept {
    if (level.up != nullptr && !strip(*level.up, text)) return false;
    return each_part(level, [&](std::string_view part) {
      if (text.substr(0, part.size()) != part) return false;
      text.remove_prefix(part.size());
      if (text.empty()) return true;
      if (text[0] != '.' || text.size() == 1) return false;
      text.remove_prefix(1);
      return true;
    });
  }

  const Level* level_;
};

// The extents of a parameter, where the parameter keeps them.
struct ParameterShape : std::span<const Index> {
  using std::span<const Index>::span;
  operator std::vector<Index>() const { return {begin(), end()}; }  // NOLINT(google-explicit-constructor)
};

// One parameter as a walk meets it, whatever its rank, for as long as the walk is there: `weight` is set where a
// linear's weight stands behind it.
template <Real T>
struct ParameterRef {
  ParameterName name;
  ParameterShape shape;  // as checkpoints have it
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
ParameterRef<T> reference(const ParameterName::Level& level, Parameter<T, Rank>& parameter, Role role) {
  ParameterRef<T> ref{ParameterName(level),
                      ParameterShape(parameter.extents(), parameter.empty() ? 0 : static_cast<std::size_t>(Rank)),
                      role,
                      nullptr,
                      &parameter,
                      nullptr,
                      nullptr};
  ref.write = [](void* p) { return static_cast<Parameter<T, Rank>*>(p)->data(); };
  ref.read = [](const void* p) { return static_cast<const Parameter<T, Rank>*>(p)->any(); };
  return ref;
}

template <Real T>
using Callback = FunctionRef<void(const ParameterRef<T>&)>;

// The visitor that modules call: v("name", member). Lists count their elements, absent members are passed over.
template <class F>
class Walker {
 public:
  Walker(F& f, const ParameterName::Level* up) : f_(f), up_(up) {}

  template <class M>
  void operator()(std::string_view name, M& member, Role role = Role::parameter) {
    visit({up_, name}, member, role);
  }

 private:
  template <class M>
  void visit(const ParameterName::Level& here, M& member, Role role) {
    if constexpr (IsParameter<M>::value) {
      if (!member.empty()) f_(reference(here, member, role));
    } else if constexpr (IsWeight<M>::value) {
      if (member.empty()) return;
      auto ref = reference(here, member.rows(), role);
      ref.shape = ParameterShape(member.stored_shape().data(), member.stored_shape().size());
      ref.weight = &member;
      f_(std::move(ref));
    } else if constexpr (IsList<M>::value) {
      for (std::size_t i = 0; i < member.size(); ++i) {
        const auto index = static_cast<Index>(i);
        here.index < 0 ? visit({here.up, here.name, index}, member[i], role)
                       : visit({&here, {}, index}, member[i], role);
      }
    } else if constexpr (IsOptional<M>::value) {
      if (member) visit(here, *member, role);
    } else {
      Walker inner(f_, &here);
      member.visit(inner);
    }
  }

  F& f_;
  const ParameterName::Level* up_;
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
void for_each_parameter(M& module, F&& f, std::string_view prefix = {}) {
  const ParameterName::Level root{nullptr, prefix};
  if constexpr (requires { typename M::value_type; }) {  // behind a pointer: the walk is compiled once for every f
    detail::Callback<typename M::value_type> call(f);
    detail::Walker walker(call, &root);
    module.visit(walker);
  } else {
    detail::Walker walker(f, &root);
    module.visit(walker);
  }
}
// The same for a const module: f must not write.
template <Module M, class F>
void for_each_parameter(const M& module, F&& f, std::string_view prefix = {}) {
  for_each_parameter(const_cast<M&>(module), std::forward<F>(f), prefix);
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

// Packs every linear weight for inference: faster products, in bf16 half the memory, in int8 a quarter. The rows are
// gone until unpacked.
template <Module M>
void pack(M& module, Numeric stored_as = Numeric::exact) {
  for_each_parameter(module, [&](const auto& parameter) {
    if (parameter.weight != nullptr) parameter.weight->pack(stored_as);
  });
}

template <Module M>
void unpack(M& module) {
  for_each_parameter(module, [](const auto& parameter) {
    if (parameter.weight != nullptr) parameter.weight->unpack();
  });
}

}  // namespace aulos::inline AULOS_ISA::nn
