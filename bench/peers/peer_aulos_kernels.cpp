// Our kernels.
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/kernels/activation.hpp"
#include "aulos/kernels/attention.hpp"
#include "aulos/kernels/gemm.hpp"
#include "aulos/kernels/linear_attention.hpp"
#include "aulos/kernels/modulate.hpp"
#include "aulos/kernels/norm.hpp"
#include "aulos/kernels/selective_scan.hpp"
#include "aulos/kernels/softmax.hpp"
#include "bench/peers/peer_aulos.hpp"
#include "bench/peers/plugin.hpp"

namespace peers {
namespace {

namespace kernels = aulos::kernels;
using aulos::Index;
using aulos::ThreadTeam;

std::unique_ptr<Job> gemm(const Work& work) {
  const kernels::GemmShape shape{work.extents[0], work.extents[2], work.extents[1]};
  const float* weight = work["weight"].data;
  const aulos::Numeric mode = aulos_numeric(work.dtype);
  auto team = std::make_unique<ThreadTeam>(work.threads);
  const auto bytes = static_cast<std::int64_t>(kernels::packed_bytes<float>(shape.n, shape.k, mode));
  Floats panels(bytes / static_cast<std::int64_t>(sizeof(float)) + 1);
  kernels::pack_weight<float>(team->threads(), weight, shape.k, shape.n, shape.k, mode, panels.data());
  return job_writing(work.results, [=, x = work["x"].data, bias = work["bias"].data, team = std::move(team),
                                    panels = std::move(panels)](float* y) {
    const kernels::WeightView<float> view{.panels = panels.data(), .type = mode};
    const kernels::BiasActivation<float> epilogue{bias};
    const auto threads = team->threads(kernels::gemm_scratch(shape, view, mode));
    kernels::gemm(threads, x, shape.k, view, epilogue, y, shape.n, shape, mode);
  });
}

std::unique_ptr<Job> attention(const Work& work) {
  const bool decode = work.kind == Kind::decode;
  const Index heads = decode ? work.extents[0] : attention_heads, width = decode ? work.extents[2] : head_width;
  const Index nq = decode ? 1 : work.extents[0], nk = work.extents[1];
  const kernels::AttentionShape shape{1, heads, heads, width, width, 1 / std::sqrt(static_cast<double>(width))};
  return job_writing(
      work.results, [=, q = work["q"].data, k = work["k"].data, v = work["v"].data, causal = work.causal,
                     mode = aulos_numeric(work.dtype), team = std::make_unique<ThreadTeam>(work.threads)](float* y) {
        const kernels::AttentionSide<float> side[] = {
            {nq, nk, kernels::heads_major(q, nq, heads, width), kernels::heads_major(k, nk, heads, width),
             kernels::heads_major(v, nk, heads, width), kernels::heads_major(y, nq, heads, width)}};
        const auto threads = team->threads(kernels::attention_scratch<float>(shape, nq, nk, mode));
        if (causal) {
          kernels::attention<float>(threads, shape, side, kernels::causal(kernels::Causality::top_left, nq, nk),
                                    kernels::NoScore{}, mode);
        } else {
          kernels::attention<float>(threads, shape, side, kernels::NoMask{}, kernels::NoScore{}, mode);
        }
      });
}

std::unique_ptr<Job> linear_attention(const Work& work) {
  const Index heads = work.extents[0], tokens = work.extents[1], width = work.extents[2];
  const kernels::LinearAttentionShape shape{1,
                                            heads,
                                            tokens,
                                            tokens,
                                            width,
                                            width,
                                            work.causal ? kernels::LinearForm::causal : kernels::LinearForm::full,
                                            kernels::Normaliser::score_sum};
  return job_writing(work.results, [=, q = work["q"].data, k = work["k"].data, v = work["v"].data,
                                    team = std::make_unique<ThreadTeam>(work.threads)](float* y) {
    const auto rows = [=](const float* x) { return kernels::heads_major(x, tokens, heads, width); };
    kernels::LinearAttentionOperands<float> in{rows(q), rows(k), rows(v)};
    in.feature = kernels::linear_feature<float, aulos::simd::EluPlusOne>();
    kernels::linear_attention<float>(team->threads(kernels::linear_attention_scratch<float>(shape)), shape, in,
                                     kernels::heads_major(y, tokens, heads, width));
  });
}

std::unique_ptr<Job> scan(const Work& work) {
  const Index tokens = work.extents[0], channels = work.extents[1], states = work.extents[2];
  const kernels::SelectiveScanShape shape{1, tokens, channels, states, 1, kernels::StepSize::given};
  const auto rows = [=](const float* x) { return kernels::tokens_major(x, tokens, 1, channels); };
  const auto vectors = [=](const float* x) { return kernels::tokens_major(x, tokens, 1, states); };
  const kernels::SelectiveScanOperands<float> in{rows(work["u"].data),    rows(work["delta"].data), work["a"].data,
                                                 vectors(work["b"].data), vectors(work["c"].data),  work["d"].data};
  return job_writing(work.results, [=, team = std::make_unique<ThreadTeam>(work.threads)](float* y) {
    kernels::selective_scan<float>(team->threads(kernels::selective_scan_scratch<float>(shape)), shape, in,
                                   kernels::tokens_major(y, tokens, 1, channels));
  });
}

std::unique_ptr<Job> rows(const Work& work) {
  const Index count = work.extents[0], columns = work.extents[1];
  const kernels::Rows<const float> x{work["x"].data, columns};
  const float *weight = work["weight"].data, *bias = work["bias"].data;
  const kernels::NormShape shape{count, columns, norm_eps};
  return job_writing(
      work.results, [=, kind = work.kind, team = std::make_unique<ThreadTeam>(work.threads)](float* out) {
        const aulos::Threads threads = team->threads();
        const kernels::Rows<float> y{out, columns};
        switch (kind) {
          case Kind::softmax:
            return kernels::softmax<float>(threads, count, columns, x, y);
          case Kind::layer_norm:
            return kernels::layer_norm<float>(threads, shape, {.x = x, .weight = weight, .bias = bias}, y);
          case Kind::rms_norm:
            return kernels::rms_norm<float>(threads, shape, {.x = x, .weight = weight}, y);
          case Kind::modulate:
            return kernels::modulate<float>(threads, count, columns, x, {weight, 0, 1}, {bias, 0, 1}, y);
          case Kind::gelu:
            return kernels::activate<float>(threads, count, columns, x, y, aulos::simd::GeluTanh{});
          default:
            return kernels::activate<float>(threads, count, columns, x, y, aulos::simd::Silu{});
        }
      });
}

}  // namespace

std::unique_ptr<Job> prepare_aulos_kernel(const Work& work) {
  switch (work.kind) {
    case Kind::gemm:
      return gemm(work);
    case Kind::attention:
    case Kind::decode:
      return attention(work);
    case Kind::linear_attention:
      return linear_attention(work);
    case Kind::scan:
      return scan(work);
    case Kind::block:
    case Kind::block_backward:
    case Kind::policy_step:
      return nullptr;
    default:
      return rows(work);
  }
}

}  // namespace peers
