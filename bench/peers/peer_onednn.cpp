// oneDNN 2: primitives with weights reordered beforehand to what the library prefers. Where products are not in f32,
// `onednn` gets its activations converted beforehand and `onednn+convert` converts them in the timed call.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/peers/plugin.hpp"

namespace peers {
namespace {

using dnnl::memory;
using Type = memory::data_type;
using Tag = memory::format_tag;
using Arguments = std::unordered_map<int, memory>;

enum class Conversion { before, timed };

Type type_of(Dtype dtype) { return dtype == Dtype::f32 ? Type::f32 : dtype == Dtype::bf16 ? Type::bf16 : Type::s8; }

// Primitives in their order, and the memory that they work on.
class Sequence {
 public:
  explicit Sequence(int threads) : threads_(threads) { omp_set_num_threads(threads); }

  const dnnl::engine& engine() const { return engine_; }

  memory empty(const memory::desc& description) { return memory(description, engine_); }
  // Operands are read in place; the library wants pointers that it could write to.
  memory view(const float* data, const memory::dims& dims, Tag tag) {
    return memory(memory::desc(dims, Type::f32, tag), engine_, const_cast<float*>(data));
  }
  void add(dnnl::primitive primitive, Arguments arguments) {
    steps_.push_back({std::move(primitive), std::move(arguments)});
  }

  // `from` times `scale` in another type or layout; in the timed sequence, or at once.
  memory converted(memory from, const memory::desc& to, Conversion conversion, float scale = 1) {
    if (from.get_desc() == to) return from;
    dnnl::primitive_attr attributes;
    if (scale != 1) attributes.set_output_scales(0, {scale});
    memory result = empty(to);
    const dnnl::reorder reorder(dnnl::reorder::primitive_desc(from, result, attributes));
    if (conversion == Conversion::timed) {
      add(reorder, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, result}});
    } else {
      reorder.execute(stream_, from, result);
      stream_.wait();
    }
    return result;
  }

  void keep(memory used) { kept_.push_back(std::move(used)); }

  void run() {
    omp_set_num_threads(threads_);
    for (const Step& step : steps_) step.primitive.execute(stream_, step.arguments);
    stream_.wait();
  }

 private:
  struct Step {
    dnnl::primitive primitive;
    Arguments arguments;
  };

  int threads_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::vector<Step> steps_;
  std::vector<memory> kept_;
};

class SequenceJob final : public Job {
 public:
  SequenceJob(Sequence sequence, memory result) : sequence_(std::move(sequence)), result_(std::move(result)) {}
  void run() override { sequence_.run(); }
  void result(std::span<float> out) override {
    std::copy_n(static_cast<const float*>(result_.get_data_handle()), out.size(), out.begin());
  }

 private:
  Sequence sequence_;
  memory result_;
};

float largest(const Input& input) {
  float most = 0;
  for (std::int64_t i = 0; i < input.count(); ++i) most = std::max(most, std::abs(input.data[i]));
  return most;
}

// int8: one scale for all of x and one for the weight, both known beforehand.
std::unique_ptr<Job> gemm(const Work& work, Conversion conversion) {
  const std::int64_t m = work.extents[0], k = work.extents[1], n = work.extents[2];
  const Type type = type_of(work.dtype);
  const bool int8 = work.dtype == Dtype::int8;
  const float x_scale = int8 ? largest(work["x"]) / 127 : 1, w_scale = int8 ? largest(work["weight"]) / 127 : 1;
  Sequence sequence(work.threads);

  const memory::desc x_type({m, k}, type, Tag::ab), w_type({k, n}, type, Tag::any),
      bias_type({1, n}, Type::f32, Tag::ab), y_type({m, n}, Type::f32, Tag::ab);
  dnnl::primitive_attr attributes;
  if (int8) attributes.set_output_scales(0, {x_scale * w_scale});
  const dnnl::matmul::primitive_desc product(dnnl::matmul::desc(x_type, w_type, bias_type, y_type), attributes,
                                             sequence.engine());
  const memory w = sequence.converted(sequence.view(work["weight"].data, {k, n}, Tag::ba), product.weights_desc(),
                                      Conversion::before, 1 / w_scale);
  // The output scale applies after the bias.
  const memory bias = sequence.empty(bias_type);
  std::transform(work["bias"].data, work["bias"].data + n, static_cast<float*>(bias.get_data_handle()),
                 [=](float b) { return b / (x_scale * w_scale); });
  const memory x = sequence.converted(sequence.view(work["x"].data, {m, k}, Tag::ab), x_type, conversion, 1 / x_scale);
  const memory y = sequence.empty(y_type);
  sequence.add(dnnl::matmul(product),
               {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, y}});
  return std::make_unique<SequenceJob>(std::move(sequence), y);
}

// This version has no fused attention: scores, softmax, weighted sum, each over all heads.
std::unique_ptr<Job> attention(const Work& work, Conversion conversion) {
  const bool decode = work.kind == Kind::decode;
  const std::int64_t heads = decode ? work.extents[0] : attention_heads, width = decode ? work.extents[2] : head_width;
  const std::int64_t nq = decode ? 1 : work.extents[0], nk = work.extents[1];
  const Type type = type_of(work.dtype);
  Sequence sequence(work.threads);
  const memory::dims queries{heads, nq, width}, keys{heads, nk, width};
  const memory::desc q_type(queries, type, Tag::abc), k_type(keys, type, Tag::abc), v_type(keys, type, Tag::abc),
      s_type({heads, nq, nk}, type, Tag::abc), y_type(queries, Type::f32, Tag::abc);
  const memory q = sequence.converted(sequence.view(work["q"].data, queries, Tag::abc), q_type, conversion);
  const memory k = sequence.converted(sequence.view(work["k"].data, keys, Tag::abc), k_type, conversion);
  const memory v = sequence.converted(sequence.view(work["v"].data, keys, Tag::abc), v_type, conversion);
  const memory s = sequence.empty(s_type), y = sequence.empty(y_type);

  dnnl::primitive_attr attributes;
  attributes.set_output_scales(0, {1 / std::sqrt(static_cast<float>(width))});
  // The keys as they lie, seen transposed.
  const memory::desc transposed({heads, width, nk}, type, Tag::acb);
  const memory k_transposed(transposed, sequence.engine(), k.get_data_handle());
  sequence.add(dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(q_type, transposed, s_type), attributes,
                                                         sequence.engine())),
               {{DNNL_ARG_SRC, q}, {DNNL_ARG_WEIGHTS, k_transposed}, {DNNL_ARG_DST, s}});
  if (work.causal) {
    const memory::desc mask_type({1, nq, nk}, Type::f32, Tag::abc);
    const memory mask = sequence.empty(mask_type);
    auto* values = static_cast<float*>(mask.get_data_handle());
    for (std::int64_t i = 0; i < nq; ++i) {
      for (std::int64_t j = 0; j < nk; ++j) values[i * nk + j] = j > i ? -1e30f : 0.0f;
    }
    const dnnl::binary::desc add(dnnl::algorithm::binary_add, s_type, mask_type, s_type);
    sequence.add(dnnl::binary(dnnl::binary::primitive_desc(add, sequence.engine())),
                 {{DNNL_ARG_SRC_0, s}, {DNNL_ARG_SRC_1, mask}, {DNNL_ARG_DST, s}});
  }
  sequence.add(dnnl::softmax_forward(dnnl::softmax_forward::primitive_desc(
                   dnnl::softmax_forward::desc(dnnl::prop_kind::forward_inference, s_type, 2), sequence.engine())),
               {{DNNL_ARG_SRC, s}, {DNNL_ARG_DST, s}});
  sequence.add(
      dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(s_type, v_type, y_type), sequence.engine())),
      {{DNNL_ARG_SRC, s}, {DNNL_ARG_WEIGHTS, v}, {DNNL_ARG_DST, y}});
  sequence.keep(k);  // of which the product has a view
  return std::make_unique<SequenceJob>(std::move(sequence), y);
}

std::unique_ptr<Job> rows(const Work& work) {
  const std::int64_t count = work.extents[0], columns = work.extents[1];
  Sequence sequence(work.threads);
  const memory::desc type({count, columns}, Type::f32, Tag::ab);
  const memory y = sequence.empty(type);
  Arguments arguments{{DNNL_ARG_SRC, sequence.view(work["x"].data, {count, columns}, Tag::ab)}, {DNNL_ARG_DST, y}};
  constexpr auto inference = dnnl::prop_kind::forward_inference;
  switch (work.kind) {
    case Kind::softmax:
      sequence.add(dnnl::softmax_forward(dnnl::softmax_forward::primitive_desc(
                       dnnl::softmax_forward::desc(inference, type, 1), sequence.engine())),
                   arguments);
      break;
    case Kind::layer_norm: {
      using Flags = dnnl::normalization_flags;
      arguments[DNNL_ARG_SCALE] = sequence.view(work["weight"].data, {columns}, Tag::a);
      arguments[DNNL_ARG_SHIFT] = sequence.view(work["bias"].data, {columns}, Tag::a);
      const dnnl::layer_normalization_forward::desc norm(inference, type, static_cast<float>(norm_eps),
                                                         Flags::use_scale | Flags::use_shift);
      sequence.add(
          dnnl::layer_normalization_forward(dnnl::layer_normalization_forward::primitive_desc(norm, sequence.engine())),
          arguments);
      break;
    }
    case Kind::gelu:
    case Kind::silu: {
      const auto algorithm =
          work.kind == Kind::gelu ? dnnl::algorithm::eltwise_gelu_tanh : dnnl::algorithm::eltwise_swish;
      sequence.add(dnnl::eltwise_forward(dnnl::eltwise_forward::primitive_desc(
                       dnnl::eltwise_forward::desc(inference, algorithm, type, 1.0f), sequence.engine())),
                   arguments);
      break;
    }
    default:
      return nullptr;
  }
  return std::make_unique<SequenceJob>(std::move(sequence), y);
}

std::unique_ptr<Job> prepare(const Work& work, Conversion conversion) {
  if (conversion == Conversion::timed && work.dtype == Dtype::f32) return nullptr;  // there is nothing to convert
  switch (work.kind) {
    case Kind::gemm:
      return gemm(work, conversion);
    case Kind::attention:
    case Kind::decode:
      return attention(work, conversion);
    case Kind::softmax:
    case Kind::layer_norm:
    case Kind::gelu:
    case Kind::silu:
      return rows(work);
    default:
      return nullptr;
  }
}

}  // namespace
}  // namespace peers

PEERS_EXPORT void register_peers(std::vector<peers::Peer>& list) {
  using namespace peers;
  const dnnl_version_t& version = *dnnl_version();
  const std::string text =
      std::to_string(version.major) + "." + std::to_string(version.minor) + "." + std::to_string(version.patch);
  list.push_back({"onednn", text, [](const Work& work) { return prepare(work, Conversion::before); }});
  list.push_back({"onednn+convert", text, [](const Work& work) { return prepare(work, Conversion::timed); }});
}
