// Eigen: matrix products and array expressions, row by row so that a row stays in the cache.
// g++ 12 reports its own _mm512_undefined_*() as uninitialized wherever Eigen uses them.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <Eigen/Core>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "bench/peers/plugin.hpp"

namespace peers {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<Matrix>;
using ConstMap = Eigen::Map<const Matrix>;
using ConstRow = Eigen::Map<const Eigen::RowVectorXf>;
using Array = Eigen::Map<Eigen::ArrayXf>;
using ConstArray = Eigen::Map<const Eigen::ArrayXf>;

std::unique_ptr<Job> gemm(const Work& work) {
  const std::int64_t m = work.extents[0], k = work.extents[1], n = work.extents[2];
  return job_writing(work.results, [=, x = work["x"].data, weight = work["weight"].data, bias = work["bias"].data,
                                    threads = work.threads](float* out) {
    Eigen::setNbThreads(threads);
    const ConstMap xs(x, m, k), w(weight, n, k);
    Map y(out, m, n);
    if (m == 1) {
      y.row(0).transpose().noalias() = w * xs.row(0).transpose();
    } else {
      y.noalias() = xs * w.transpose();
    }
    y.rowwise() += ConstRow(bias, n);
  });
}

// Head by head: scores, their softmax, the weighted sum.
std::unique_ptr<Job> attention(const Work& work) {
  const bool decode = work.kind == Kind::decode;
  const std::int64_t heads = decode ? work.extents[0] : attention_heads, width = decode ? work.extents[2] : head_width;
  const std::int64_t nq = decode ? 1 : work.extents[0], nk = work.extents[1];
  return job_writing(work.results, [=, q = work["q"].data, k = work["k"].data, v = work["v"].data, causal = work.causal,
                                    threads = work.threads, p = Matrix(nq, nk)](float* out) mutable {
    Eigen::setNbThreads(threads);
    const float scale = 1 / std::sqrt(static_cast<float>(width));
    for (std::int64_t h = 0; h < heads; ++h) {
      const ConstMap qs(q + h * nq * width, nq, width), ks(k + h * nk * width, nk, width);
      p.noalias() = scale * qs * ks.transpose();
      for (std::int64_t i = 0; i < nq; ++i) {
        const std::int64_t seen = causal ? std::min(nk, i + 1) : nk;
        auto row = p.row(i).head(seen).array();
        row = (row - row.maxCoeff()).exp();
        row *= 1 / row.sum();
        p.row(i).tail(nk - seen).setZero();
      }
      Map(out + h * nq * width, nq, width).noalias() = p * ConstMap(v + h * nk * width, nk, width);
    }
  });
}

// y = f(x, weight, bias) for each row.
template <class F>
std::unique_ptr<Job> rows(const Work& work, F f) {
  const std::int64_t count = work.extents[0], columns = work.extents[1];
  return job_writing(
      work.results, [=, from = work["x"].data, weight = work["weight"].data, bias = work["bias"].data](float* out) {
        for (std::int64_t r = 0; r < count; ++r) {
          Array y(out + r * columns, columns);
          f(ConstArray(from + r * columns, columns), ConstArray(weight, columns), ConstArray(bias, columns), y);
        }
      });
}

std::unique_ptr<Job> rows(const Work& work) {
  constexpr auto eps = static_cast<float>(norm_eps);
  switch (work.kind) {
    case Kind::softmax:
      return rows(work, [](const auto& x, const auto&, const auto&, auto& y) {
        y = (x - x.maxCoeff()).exp();
        y *= 1 / y.sum();
      });
    case Kind::layer_norm:
      return rows(work, [](const auto& x, const auto& weight, const auto& bias, auto& y) {
        const float mean = x.mean(), variance = (x - mean).square().mean();
        y = (x - mean) * (1 / std::sqrt(variance + eps)) * weight + bias;
      });
    case Kind::rms_norm:
      return rows(work, [](const auto& x, const auto& weight, const auto&, auto& y) {
        y = x * (1 / std::sqrt(x.square().mean() + eps)) * weight;
      });
    case Kind::modulate:
      return rows(work,
                  [](const auto& x, const auto& scale, const auto& shift, auto& y) { y = x * (1 + scale) + shift; });
    case Kind::gelu:
      return rows(work, [](const auto& x, const auto&, const auto&, auto& y) {
        y = 0.5f * x * (1 + (0.7978845608f * (x + 0.044715f * x.cube())).tanh());
      });
    case Kind::silu:
      return rows(work, [](const auto& x, const auto&, const auto&, auto& y) { y = x / (1 + (-x).exp()); });
    default:
      return nullptr;
  }
}

std::unique_ptr<Job> prepare(const Work& work) {
  if (work.dtype != Dtype::f32) return nullptr;
  if (work.kind == Kind::gemm) return gemm(work);
  if (work.kind == Kind::attention || work.kind == Kind::decode) return attention(work);
  return work.threads == 1 ? rows(work) : nullptr;
}

}  // namespace
}  // namespace peers

PEERS_EXPORT void register_peers(std::vector<peers::Peer>& list) {
  list.push_back({"eigen",
                  std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) + "." +
                      std::to_string(EIGEN_MINOR_VERSION),
                  peers::prepare});
}
