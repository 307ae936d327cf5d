// A random attention problem in any layout, for the tests of the kernels: runs the kernels on T and their naive twins
// on the same numbers in double.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aulos/kernels/attention.hpp"
#include "aulos/kernels/attention_backward.hpp"
#include "aulos/kernels/naive/attention.hpp"
#include "tests/kernels/sweep.hpp"

namespace attention_test {

using aulos::Index;
namespace kernels = aulos::kernels;

enum class Layout { tokens, heads, gaps };  // [B, N, H, D], [B, H, N, D], or the former inside larger strides

struct Extents {
  Index nq, nk;
};

// One array of head rows with its memory, which begins `shift` elements behind a multiple of 64 bytes; in front of it
// and between the rows of Layout::gaps lie sentinels.
template <class T>
struct Array {
  static constexpr double sentinel = 1234.5;
  Index batch = 0, tokens = 0, heads = 0, width = 0;
  Layout layout = Layout::tokens;
  Index shift = 0;
  aulos_test::AlignedVector<T> data;

  Array() = default;
  Array(Index b, Index n, Index h, Index w, Layout l, Index first = 0)
      : batch(b), tokens(n), heads(h), width(w), layout(l), shift(first) {
    const Index size = l == Layout::gaps ? b * (n * (h * (w + 3) + 5) + 7) : b * n * h * w;
    data.assign(static_cast<std::size_t>(shift + size), T(sentinel));
  }
  kernels::HeadRows<T> strides() const {
    if (layout == Layout::tokens) return kernels::tokens_major<T>(nullptr, tokens, heads, width);
    if (layout == Layout::heads) return kernels::heads_major<T>(nullptr, tokens, heads, width);
    const Index token = heads * (width + 3) + 5;
    return {nullptr, tokens * token + 7, token, width + 3};
  }
  kernels::HeadRows<T> rows() {
    auto view = strides();
    view.data = data.data() + shift;
    return view;
  }
  kernels::HeadRows<const T> rows() const {
    const auto view = strides();
    return {data.data() + shift, view.batch, view.token, view.head};
  }
  T* at(Index b, Index n, Index h) { return rows().at(b, n, h); }
  const T* at(Index b, Index n, Index h) const { return rows().at(b, n, h); }

  template <class F>
  void each(F&& f) {
    for (Index b = 0; b < batch; ++b) {
      for (Index n = 0; n < tokens; ++n) {
        for (Index h = 0; h < heads; ++h) {
          for (Index c = 0; c < width; ++c) f(at(b, n, h)[c]);
        }
      }
    }
  }
  void randomise(std::mt19937& random) {
    std::uniform_real_distribution<double> uniform(-1.5, 1.5);
    each([&](T& x) { x = static_cast<T>(uniform(random)); });
  }
  void fill(T value) {
    each([&](T& x) { x = value; });
  }
  // The elements in [b, n, h, c] order, whatever the layout.
  std::vector<T> values() {
    std::vector<T> all;
    each([&](T& x) { all.push_back(x); });
    return all;
  }
  Index sentinels() const {
    Index n = 0;
    for (T x : data) n += x == T(sentinel);
    return n;
  }
  template <class U>
  Array<U> as() const {
    Array<U> other;
    other.batch = batch, other.tokens = tokens, other.heads = heads, other.width = width, other.layout = layout;
    other.shift = shift;
    for (T x : data) other.data.push_back(static_cast<U>(x));
    return other;
  }
};

template <class T>
struct SideData {
  Index nq = 0, nk = 0;
  Array<T> q, k, v, out, lse, dout, dlse, dq, dk, dv;
  template <class U>
  SideData<U> as() const {
    return {nq,
            nk,
            q.template as<U>(),
            k.template as<U>(),
            v.template as<U>(),
            out.template as<U>(),
            lse.template as<U>(),
            dout.template as<U>(),
            dlse.template as<U>(),
            dq.template as<U>(),
            dk.template as<U>(),
            dv.template as<U>()};
  }
};

template <class T>
struct Problem {
  kernels::AttentionShape shape;
  std::vector<SideData<T>> data;
  bool with_dlse = false;

  Problem() = default;
  Problem(kernels::AttentionShape s, std::vector<Extents> extents, Layout layout = Layout::tokens, unsigned seed = 1,
          Index shift = 0)
      : shape(s) {
    std::mt19937 random(seed);
    for (const Extents& n : extents) {
      SideData<T> side;
      side.nq = n.nq;
      side.nk = n.nk;
      auto array = [&](Index tokens, Index heads, Index width) {
        Array<T> a(s.batch, tokens, heads, width, layout, shift);
        a.randomise(random);
        return a;
      };
      side.q = array(n.nq, s.heads, s.width);
      side.k = array(n.nk, s.groups, s.width);
      side.v = array(n.nk, s.value_groups, s.value_width);
      side.dout = array(n.nq, s.heads, s.value_width);
      side.dlse = array(n.nq, s.heads, 1);
      side.out = Array<T>(s.batch, n.nq, s.heads, s.value_width, layout, shift);
      side.lse = Array<T>(s.batch, n.nq, s.heads, 1, layout, shift);
      side.dq = Array<T>(s.batch, n.nq, s.heads, s.width, layout, shift);
      side.dk = Array<T>(s.batch, n.nk, s.groups, s.width, layout, shift);
      side.dv = Array<T>(s.batch, n.nk, s.value_groups, s.value_width, layout, shift);
      data.push_back(std::move(side));
    }
  }

  Index nq() const {
    Index n = 0;
    for (const auto& side : data) n += side.nq;
    return n;
  }
  Index nk() const {
    Index n = 0;
    for (const auto& side : data) n += side.nk;
    return n;
  }

  std::vector<kernels::AttentionSide<T>> sides() {
    std::vector<kernels::AttentionSide<T>> all;
    for (auto& s : data) {
      all.push_back({s.nq, s.nk, std::as_const(s.q).rows(), std::as_const(s.k).rows(), std::as_const(s.v).rows(),
                     s.out.rows(), s.lse.rows()});
    }
    return all;
  }
  std::vector<kernels::AttentionSideGradients<T>> gradients(kernels::Store store = kernels::Store::overwrite) {
    std::vector<kernels::AttentionSideGradients<T>> all;
    for (auto& s : data) {
      kernels::AttentionSideGradients<T> g;
      g.dout = std::as_const(s.dout).rows();
      if (with_dlse) g.dlse = std::as_const(s.dlse).rows();
      g.dq = {s.dq.rows(), store};
      g.dk = {s.dk.rows(), store};
      g.dv = {s.dv.rows(), store};
      all.push_back(g);
    }
    return all;
  }

  template <class Mask = kernels::NoMask, class Score = kernels::NoScore>
  void run(const Mask& mask = {}, const Score& score = {}, int threads = 1,
           aulos::Numeric mode = aulos::Numeric::exact) {
    aulos::ThreadTeam team(threads);
    const auto all = sides();
    kernels::attention<T>(team.threads(kernels::attention_scratch<T>(shape, nq(), nk(), mode)), shape, all, mask, score,
                          mode);
  }
  template <class Mask = kernels::NoMask, class Score = kernels::NoScore>
  void run_backward(const Mask& mask = {}, const Score& score = {}, int threads = 1,
                    kernels::Store store = kernels::Store::overwrite) {
    aulos::ThreadTeam team(threads);
    const auto all = sides();
    const auto grads = gradients(store);
    kernels::attention_backward<T>(team.threads(kernels::attention_backward_scratch<T>(shape, nq(), nk())), shape, all,
                                   grads, mask, score);
  }

  // The same without any gradients yet, so that a piece which is left out shows.
  Problem without_gradients() const {
    Problem other = *this;
    for (auto& s : other.data) {
      for (auto* x : {&s.dq, &s.dk, &s.dv}) x->fill(T(-7));
    }
    return other;
  }

  // The same numbers in double, through the naive twin.
  Problem<double> twin() const {
    Problem<double> other;
    other.shape = shape;
    other.with_dlse = with_dlse;
    for (const auto& side : data) other.data.push_back(side.template as<double>());
    return other;
  }
  template <class Keep = kernels::naive::KeepAll, class Score = kernels::naive::SameScore>
  Problem<double> expected(const Keep& keep = {}, const Score& score = {}) const {
    auto other = twin();
    const auto all = other.sides();
    kernels::naive::attention<double>(shape, all, keep, score);
    return other;
  }
  template <class Keep = kernels::naive::KeepAll, class Score = kernels::naive::SameScore,
            class Slope = kernels::naive::UnitSlope, class Sink = kernels::naive::NoSink>
  Problem<double> expected_gradients(const Keep& keep = {}, const Score& score = {}, const Slope& slope = {},
                                     const Sink& sink = {}) const {
    auto other = twin();
    const auto all = other.sides();
    const auto grads = other.gradients();
    kernels::naive::attention_backward<double>(shape, all, grads, keep, score, slope, sink);
    return other;
  }
};

inline kernels::AttentionShape shape_of(Index b, Index h, Index g, Index d, Index e) {
  return {b, h, g, d, e, 1.0 / std::sqrt(static_cast<double>(d > 0 ? d : 1))};
}
// With values in groups of their own.
inline kernels::AttentionShape shape_of(Index b, Index h, Index g, Index value_groups, Index d, Index e) {
  kernels::AttentionShape shape = shape_of(b, h, g, d, e);
  shape.value_groups = value_groups;
  return shape;
}

// check(problem) for head widths, then numbers of keys, then of queries around the batch, in memory that begins
// anywhere. One query row is a path of its own.
template <class T, class Check>
void sweep_problems(const Check& check) {
  aulos_test::sweep<T>([&](Index length, Index shift) {
    const auto run = [&](Index width, Index value_width, Extents extents) {
      SCOPED_TRACE(::testing::Message() << "D " << width << ", E " << value_width << ", " << extents.nq << " x "
                                        << extents.nk);
      const Layout layout = shift == 0 ? Layout::tokens : Layout::gaps;
      Problem<T> p(shape_of(2, 2, 1, width, value_width), {extents}, layout, 1, shift);
      const auto sentinels = [&] { return p.data[0].out.sentinels() + p.data[0].lse.sentinels(); };
      const Index before = sentinels();
      check(p);
      EXPECT_EQ(sentinels(), before - 2 * 2 * extents.nq * (value_width + 1));
    };
    for (const Index nq : {1, 7}) {
      run(length, length, {nq, 19});
      run(5, 6, {nq, length});
    }
    run(5, 6, {length, 19});
  });
}

// Key and value groups (G, G') of 12 heads: equal, nested either way, and neither inside the other.
inline constexpr std::pair<Index, Index> head_groups[] = {{4, 4}, {12, 6}, {6, 3}, {2, 12}, {1, 12}, {4, 6}, {6, 4}};

// Largest |x - y| relative to 1 + |y|; equal infinities and NaN beside NaN count as 0, other non-finites as infinity.
template <class T, class U>
double distance(Array<T>& x, Array<U>& y) {
  const auto a = x.values();
  const auto b = y.values();
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double p = static_cast<double>(a[i]), q = static_cast<double>(b[i]);
    if (p == q || (std::isnan(p) && std::isnan(q))) continue;
    const double error = std::abs(p - q) / (1 + std::abs(q));
    worst = error > worst || std::isnan(error) ? (std::isnan(error) ? std::numeric_limits<double>::infinity() : error)
                                               : worst;
  }
  return a.size() == b.size() ? worst : std::numeric_limits<double>::infinity();
}

template <class T>
bool same_bits(Array<T>& x, Array<T>& y) {
  const auto a = x.values();
  const auto b = y.values();
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
inline constexpr double tolerance = sizeof(T) == 4 ? 3e-6 : 1e-13;

template <class T>
double forward_distance(Problem<T>& x, Problem<double>& y) {
  double worst = 0;
  for (std::size_t s = 0; s < x.data.size(); ++s) {
    worst = std::max({worst, distance(x.data[s].out, y.data[s].out), distance(x.data[s].lse, y.data[s].lse)});
  }
  return worst;
}

template <class T>
double backward_distance(Problem<T>& x, Problem<double>& y) {
  double worst = 0;
  for (std::size_t s = 0; s < x.data.size(); ++s) {
    worst = std::max({worst, distance(x.data[s].dq, y.data[s].dq), distance(x.data[s].dk, y.data[s].dk),
                      distance(x.data[s].dv, y.data[s].dv)});
  }
  return worst;
}

template <class T>
bool same_forward(Problem<T>& x, Problem<T>& y) {
  bool same = true;
  for (std::size_t s = 0; s < x.data.size(); ++s) {
    same = same && same_bits(x.data[s].out, y.data[s].out) && same_bits(x.data[s].lse, y.data[s].lse);
  }
  return same;
}

template <class T>
bool same_backward(Problem<T>& x, Problem<T>& y) {
  bool same = true;
  for (std::size_t s = 0; s < x.data.size(); ++s) {
    same = same && same_bits(x.data[s].dq, y.data[s].dq) && same_bits(x.data[s].dk, y.data[s].dk) &&
           same_bits(x.data[s].dv, y.data[s].dv);
  }
  return same;
}

}  // namespace attention_test
