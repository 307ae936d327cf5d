// ONNX Runtime on the processor with all its graph optimisations, weights as constants (which it packs beforehand) and
// results in memory of ours. `onnxruntime` uses its fused operators, `onnxruntime+standard` ONNX's own where those of
// products and attention differ. int8: weights by channel, activations quantised in the call.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/peers/onnx_graph.hpp"
#include "bench/peers/onnxruntime_api.hpp"
#include "bench/peers/plugin.hpp"

namespace peers {
namespace {

using Shape = OnnxGraph::Shape;

enum class Operators { fused, standard };

const ort::Api& api() {
  static const ort::Api instance(ONNXRUNTIME_LIBRARY);
  return instance;
}

// A model with inputs from the work, and its result.
class SessionJob final : public Job {
 public:
  SessionJob(const Work& work, const std::string& model, const Shape& result_shape) : y_(work.results) {
    ort::SessionOptions* options = nullptr;
    api().call<ort::CreateSessionOptions>(&options);
    api().call<ort::SetIntraOpNumThreads>(options, work.threads);
    api().call<ort::SetInterOpNumThreads>(options, 1);
    api().call<ort::SetGraphOptimizationLevel>(options, ort::optimize_all);
    api().call<ort::CreateSessionFromArray>(api().env(), model.data(), model.size(), options, &session_);
    api().call<ort::ReleaseSessionOptions>(options);
    result_ = value(y_.data(), result_shape);
  }
  ~SessionJob() override {
    for (ort::Value* input : inputs_) api().call<ort::ReleaseValue>(input);
    api().call<ort::ReleaseValue>(result_);
    api().call<ort::ReleaseSession>(session_);
  }

  // `data` must stay; the library only reads it.
  void add_input(const char* name, const float* data, const Shape& shape) {
    names_.push_back(name);
    inputs_.push_back(value(const_cast<float*>(data), shape));
  }
  // The same with memory that stays here.
  void add_input(const char* name, Floats data, const Shape& shape) {
    kept_.push_back(std::move(data));
    add_input(name, kept_.back().data(), shape);
  }
  // The result is [rows, parts, width] where [parts, rows, width] is wanted.
  void swap_result(std::int64_t rows, std::int64_t parts, std::int64_t width) { swapped_ = {rows, parts, width}; }

  void run() override {
    const char* const name = "y";
    api().call<ort::Run>(session_, nullptr, names_.data(), inputs_.data(), inputs_.size(), &name, std::size_t{1},
                         &result_);
  }
  void result(std::span<float> out) override;

 private:
  static ort::Value* value(float* data, const Shape& shape) {
    std::size_t bytes = sizeof(float);
    for (const std::int64_t extent : shape) bytes *= static_cast<std::size_t>(extent);
    ort::MemoryInfo* where = nullptr;
    api().call<ort::CreateCpuMemoryInfo>(ort::arena_allocator, ort::default_memory, &where);
    ort::Value* made = nullptr;
    api().call<ort::CreateTensorWithData>(where, data, bytes, shape.data(), shape.size(), ort::float_elements, &made);
    api().call<ort::ReleaseMemoryInfo>(where);
    return made;
  }

  Floats y_;
  ort::Session* session_ = nullptr;
  ort::Value* result_ = nullptr;
  std::vector<const char*> names_;
  std::vector<ort::Value*> inputs_;
  std::vector<Floats> kept_;
  std::array<std::int64_t, 3> swapped_{};
};

// to [b, a, width] = from [a, b, width].
void swap_axes(const float* from, std::int64_t a, std::int64_t b, std::int64_t width, float* to) {
  for (std::int64_t i = 0; i < a; ++i) {
    for (std::int64_t j = 0; j < b; ++j) std::copy_n(from + (i * b + j) * width, width, to + (j * a + i) * width);
  }
}

void SessionJob::result(std::span<float> out) {
  if (swapped_[0] > 0) {
    swap_axes(y_.data(), swapped_[0], swapped_[1], swapped_[2], out.data());
  } else {
    std::copy_n(y_.data(), out.size(), out.begin());
  }
}

// Operators as the models below need them, with constants taken from a work.
class Builder {
 public:
  Builder(const Work& work, Operators operators) : work_(work), operators_(operators) {}

  OnnxGraph graph;

  std::string constant(const std::string& name) {
    const Input& input = work_[name];
    return graph.constant(input.shape, input.data);
  }

  std::string linear(const std::string& x, const std::string& name) {
    return linear(x, work_[name + ".weight"], work_[name + ".bias"]);
  }
  std::string linear(const std::string& x, const Input& weight, const Input& bias) {
    return linear(x, weight.data, bias.data, weight.shape[0], weight.shape[1]);
  }
  // y = x W^T + b, W [out, in].
  std::string linear(const std::string& x, const float* weight, const float* bias, std::int64_t out, std::int64_t in) {
    const std::string b = graph.constant({out}, bias);
    if (work_.dtype == Dtype::int8) {
      std::vector<std::int8_t> quantised(static_cast<std::size_t>(out * in));
      std::vector<float> scales(static_cast<std::size_t>(out));
      const std::vector<std::int8_t> zeros(static_cast<std::size_t>(out));
      for (std::int64_t n = 0; n < out; ++n) {
        float most = 1e-30f;
        for (std::int64_t k = 0; k < in; ++k) most = std::max(most, std::abs(weight[n * in + k]));
        scales[static_cast<std::size_t>(n)] = most / 127;
        for (std::int64_t k = 0; k < in; ++k) {
          quantised[static_cast<std::size_t>(k * out + n)] =
              static_cast<std::int8_t>(std::nearbyint(weight[n * in + k] / most * 127));
        }
      }
      return graph.op("DynamicQuantizeMatMul",
                      {x, graph.constant({in, out}, quantised.data()), graph.constant({out}, scales.data()),
                       graph.constant({out}, zeros.data()), b},
                      {}, OnnxGraph::microsoft);
    }
    Floats transposed(out * in);
    swap_axes(weight, out, in, 1, transposed.data());
    return graph.op("Add", {graph.op("MatMul", {x, graph.constant({in, out}, transposed.data())}), b});
  }

  std::string silu(const std::string& x) { return graph.op("QuickGelu", {x}, {{"alpha", 1.0f}}, OnnxGraph::microsoft); }
  std::string gelu(const std::string& x) { return graph.op("FastGelu", {x}, {}, OnnxGraph::microsoft); }

  std::string layer_norm(const std::string& x, const std::string& weight, const std::string& bias) {
    return graph.op("LayerNormalization", {x, weight, bias}, {{"axis", -1}, {"epsilon", static_cast<float>(norm_eps)}});
  }
  std::string rms_norm(const std::string& x, const std::string& weight) {
    return graph.op("SimplifiedLayerNormalization", {x, weight},
                    {{"axis", -1}, {"epsilon", static_cast<float>(norm_eps)}});
  }
  std::string modulate(const std::string& x, const std::string& shift, const std::string& scale) {
    return graph.op("Add", {graph.op("Mul", {x, graph.op("Add", {scale, one()})}), shift});
  }
  std::string modulated_norm(const std::string& x, std::int64_t width, const std::string& shift,
                             const std::string& scale) {
    if (ones_.empty()) {
      const std::vector<float> ones(static_cast<std::size_t>(width), 1.0f), zeros(ones.size());
      ones_ = graph.constant({width}, ones.data());
      zeros_ = graph.constant({width}, zeros.data());
    }
    return modulate(layer_norm(x, ones_, zeros_), shift, scale);
  }

  std::string reshape(const std::string& x, const Shape& shape) {
    return graph.op("Reshape", {x, graph.constant(shape)});
  }
  std::vector<std::string> chunks(const std::string& x, int count, std::int64_t each, std::int64_t axis) {
    return graph.split("Split", {x, graph.constant(Shape(static_cast<std::size_t>(count), each))}, count,
                       {{"axis", axis}});
  }

  // q, k, v [1, N, H D] -> [1, Nq, H D].
  std::string attention(const std::string& q, const std::string& k, const std::string& v, std::int64_t heads,
                        std::int64_t width, bool causal = false) {
    if (operators_ == Operators::fused) {
      return graph.op("MultiHeadAttention", {q, k, v}, {{"num_heads", heads}, {"unidirectional", causal ? 1 : 0}},
                      OnnxGraph::microsoft);
    }
    const auto by_head = [&](const std::string& x, std::initializer_list<std::int64_t> order) {
      return graph.op("Transpose", {reshape(x, {1, -1, heads, width})}, {{"perm", order}});
    };
    const std::string mixed =
        standard_attention(by_head(q, {0, 2, 1, 3}), by_head(k, {0, 2, 3, 1}), by_head(v, {0, 2, 1, 3}), width);
    return reshape(graph.op("Transpose", {mixed}, {{"perm", {0, 2, 1, 3}}}), {1, -1, heads * width});
  }
  // q, v [.., N, D], k [.., D, N].
  std::string standard_attention(const std::string& q, const std::string& k, const std::string& v, std::int64_t width,
                                 const std::string& mask = {}) {
    const std::string factor = graph.scalar(1 / std::sqrt(static_cast<float>(width)));
    std::string scores = graph.op("MatMul", {graph.op("Mul", {q, factor}), k});
    if (!mask.empty()) scores = graph.op("Add", {scores, mask});
    return graph.op("MatMul", {graph.op("Softmax", {scores}, {{"axis", -1}}), v});
  }

  std::string one() {
    if (one_.empty()) one_ = graph.scalar(1);
    return one_;
  }

 private:
  const Work& work_;
  Operators operators_;
  std::string one_, ones_, zeros_;
};

std::unique_ptr<Job> gemm(const Work& work, Operators operators) {
  const std::int64_t m = work.extents[0], k = work.extents[1], n = work.extents[2];
  Builder b(work, operators);
  const std::string x = b.graph.input("x", {m, k});
  const std::string y = operators == Operators::standard
                            ? b.graph.op("Gemm", {x, b.constant("weight"), b.constant("bias")}, {{"transB", 1}})
                            : b.linear(x, work["weight"], work["bias"]);
  auto job = std::make_unique<SessionJob>(work, std::move(b.graph).model(y, {m, n}), Shape{m, n});
  job->add_input("x", work["x"].data, {m, k});
  return job;
}

std::unique_ptr<Job> attention(const Work& work, Operators operators) {
  const bool decode = work.kind == Kind::decode;
  const std::int64_t heads = decode ? work.extents[0] : attention_heads, width = decode ? work.extents[2] : head_width;
  const std::int64_t nq = decode ? 1 : work.extents[0], nk = work.extents[1];
  Builder b(work, operators);
  if (operators == Operators::fused) {  // its operator wants tokens first
    const Shape queries{1, nq, heads * width}, keys{1, nk, heads * width};
    const std::string q = b.graph.input("q", queries), k = b.graph.input("k", keys), v = b.graph.input("v", keys);
    const std::string y = b.attention(q, k, v, heads, width, work.causal);
    auto job = std::make_unique<SessionJob>(work, std::move(b.graph).model(y, queries), queries);
    for (const char* name : {"q", "k", "v"}) {
      const Input& input = work[name];
      Floats tokens_first(input.count());
      swap_axes(input.data, heads, input.shape[1], width, tokens_first.data());
      job->add_input(name, std::move(tokens_first), name[0] == 'q' ? queries : keys);
    }
    job->swap_result(nq, heads, width);
    return job;
  }
  const Shape queries{1, heads, nq, width}, keys{1, heads, nk, width};
  const std::string q = b.graph.input("q", queries), k = b.graph.input("k", keys), v = b.graph.input("v", keys);
  std::string mask;
  if (work.causal) {
    std::vector<float> values(static_cast<std::size_t>(nq * nk));
    for (std::int64_t i = 0; i < nq; ++i) {
      for (std::int64_t j = i + 1; j < nk; ++j) values[static_cast<std::size_t>(i * nk + j)] = -1e30f;
    }
    mask = b.graph.constant({nq, nk}, values.data());
  }
  const std::string transposed = b.graph.op("Transpose", {k}, {{"perm", {0, 1, 3, 2}}});
  const std::string y = b.standard_attention(q, transposed, v, width, mask);
  auto job = std::make_unique<SessionJob>(work, std::move(b.graph).model(y, queries), queries);
  job->add_input("q", work["q"].data, queries);
  job->add_input("k", work["k"].data, keys);
  job->add_input("v", work["v"].data, keys);
  return job;
}

std::unique_ptr<Job> block(const Work& work, Operators operators) {
  const std::int64_t width = work.extents[0], heads = width / head_width;
  const std::int64_t tokens[] = {work.extents[1], work.extents[2]}, all = tokens[0] + tokens[1];
  Builder b(work, operators);
  const std::string c = b.silu(b.graph.input("c", {1, 1, width}));
  std::array<std::string, 2> x;
  std::array<std::vector<std::string>, 2> rows;
  std::array<std::vector<std::string>, 3> qkv;
  for (std::size_t s = 0; s < 2; ++s) {
    const StreamNames& n = stream_names[s];
    x[s] = b.graph.input(n.tokens, {1, tokens[s], width});
    rows[s] = b.chunks(b.linear(c, n.modulation), 6, width, -1);
    const std::string h = b.modulated_norm(x[s], width, rows[s][0], rows[s][1]);
    const auto normed = [&](const char* linear, const char* norm) {
      const std::string split = b.reshape(b.linear(h, linear), {1, tokens[s], heads, head_width});
      return b.reshape(b.rms_norm(split, b.constant(std::string(norm) + ".weight")), {1, tokens[s], width});
    };
    qkv[0].push_back(normed(n.q, n.norm_q));
    qkv[1].push_back(normed(n.k, n.norm_k));
    qkv[2].push_back(b.linear(h, n.v));
  }
  const auto joint = [&](const std::vector<std::string>& parts) { return b.graph.op("Concat", parts, {{"axis", 1}}); };
  const std::string mixed = b.attention(joint(qkv[0]), joint(qkv[1]), joint(qkv[2]), heads, head_width);
  const auto own = b.graph.split("Split", {mixed, b.graph.constant({tokens[0], tokens[1]})}, 2, {{"axis", 1}});
  std::vector<std::string> y;
  for (std::size_t s = 0; s < 2; ++s) {
    const StreamNames& n = stream_names[s];
    const auto gated = [&](const std::string& base, const std::string& gate, const std::string& branch) {
      return b.graph.op("Add", {base, b.graph.op("Mul", {gate, branch})});
    };
    const std::string h = gated(x[s], rows[s][2], b.linear(own[s], n.out));
    const std::string hidden = b.gelu(b.linear(b.modulated_norm(h, width, rows[s][3], rows[s][4]), n.fc1));
    y.push_back(gated(h, rows[s][5], b.linear(hidden, n.fc2)));
  }
  const Shape result{1, all, width};
  auto job = std::make_unique<SessionJob>(work, std::move(b.graph).model(joint(y), result), result);
  for (const char* name : {"image", "text"}) job->add_input(name, work[name].data, work[name].shape);
  job->add_input("c", work["c"].data, {1, 1, width});
  return job;
}

std::unique_ptr<Job> policy_step(const Work& work, Operators operators) {
  Builder b(work, operators);
  std::string x = b.graph.input("x", {1, policy_tokens, policy_width});
  const std::string c = b.silu(b.graph.input("condition", {1, 1, policy_width}));
  const auto gated = [&](const std::string& base, const std::string& gate, const std::string& branch) {
    return b.graph.op("Add", {base, b.graph.op("Mul", {gate, branch})});
  };
  for (std::int64_t i = 0; i < policy_depth; ++i) {
    const std::string name = "blocks." + std::to_string(i) + ".";
    const auto rows = b.chunks(b.linear(c, name + "adaLN_modulation.1"), 6, policy_width, -1);
    const auto qkv =
        b.chunks(b.linear(b.modulated_norm(x, policy_width, rows[0], rows[1]), name + "attn.qkv"), 3, policy_width, -1);
    const std::string mixed = b.attention(qkv[0], qkv[1], qkv[2], policy_heads, policy_width / policy_heads);
    x = gated(x, rows[2], b.linear(mixed, name + "attn.proj"));
    const std::string hidden = b.gelu(b.linear(b.modulated_norm(x, policy_width, rows[3], rows[4]), name + "mlp.fc1"));
    x = gated(x, rows[5], b.linear(hidden, name + "mlp.fc2"));
  }
  const auto rows = b.chunks(b.linear(c, "final_layer.adaLN_modulation.1"), 2, policy_width, -1);
  const std::string y = b.linear(b.modulated_norm(x, policy_width, rows[0], rows[1]), "final_layer.linear");
  const Shape result{1, policy_tokens, policy_actions};
  auto job = std::make_unique<SessionJob>(work, std::move(b.graph).model(y, result), result);
  job->add_input("x", work["x"].data, work["x"].shape);
  job->add_input("condition", work["condition"].data, {1, 1, policy_width});
  return job;
}

std::unique_ptr<Job> linear_attention(const Work& work) {
  constexpr std::int64_t chunk = 64;
  const std::int64_t heads = work.extents[0], tokens = work.extents[1], width = work.extents[2];
  if (work.causal && tokens % chunk != 0) return nullptr;
  Builder b(work, Operators::fused);
  OnnxGraph& g = b.graph;
  const Shape whole{heads, tokens, width};
  std::array<std::string, 3> in;  // features of q and k, v; causal: in chunks
  for (std::size_t i = 0; i < 3; ++i) {
    in[i] = g.input(std::array{"q", "k", "v"}[i], whole);
    if (i < 2) in[i] = g.op("Add", {g.op("Elu", {in[i]}), b.one()});
    if (work.causal) in[i] = b.reshape(in[i], {heads, tokens / chunk, chunk, width});
  }
  const auto& [q, k, v] = in;
  std::string y;
  if (work.causal) {
    const std::string transposed = g.op("Transpose", {k}, {{"perm", {0, 1, 3, 2}}}), axis = g.constant({1});
    const auto before = [&](const std::string& x) { return g.op("CumSum", {x, axis}, {{"exclusive", 1}}); };
    std::vector<float> lower(chunk * chunk);
    for (std::size_t i = 0; i < chunk; ++i)
      std::fill_n(lower.begin() + static_cast<std::ptrdiff_t>(i * chunk), i + 1, 1.0f);
    const std::string state = before(g.op("MatMul", {transposed, v}));
    const std::string sum = before(g.op("ReduceSum", {transposed, g.constant({3})}, {{"keepdims", 1}}));
    const std::string scores = g.op("Mul", {g.op("MatMul", {q, transposed}), g.constant({chunk, chunk}, lower.data())});
    const std::string top = g.op("Add", {g.op("MatMul", {scores, v}), g.op("MatMul", {q, state})});
    const std::string bottom =
        g.op("Add", {g.op("ReduceSum", {scores, g.constant({3})}, {{"keepdims", 1}}), g.op("MatMul", {q, sum})});
    y = b.reshape(g.op("Div", {top, bottom}), whole);
  } else {
    const std::string transposed = g.op("Transpose", {k}, {{"perm", {0, 2, 1}}});
    const std::string sum = g.op("ReduceSum", {transposed, g.constant({2})}, {{"keepdims", 1}});
    y = g.op("Div", {g.op("MatMul", {q, g.op("MatMul", {transposed, v})}), g.op("MatMul", {q, sum})});
  }
  auto job = std::make_unique<SessionJob>(work, std::move(g).model(y, whole), whole);
  for (const char* name : {"q", "k", "v"}) job->add_input(name, work[name].data, whole);
  return job;
}

std::unique_ptr<Job> rows(const Work& work) {
  Builder b(work, Operators::fused);
  const Shape shape{work.extents[0], work.extents[1]};
  const std::string x = b.graph.input("x", shape);
  std::string y;
  switch (work.kind) {
    case Kind::softmax:
      y = b.graph.op("Softmax", {x}, {{"axis", -1}});
      break;
    case Kind::layer_norm:
      y = b.layer_norm(x, b.constant("weight"), b.constant("bias"));
      break;
    case Kind::rms_norm:
      y = b.rms_norm(x, b.constant("weight"));
      break;
    case Kind::modulate:
      y = b.modulate(x, b.constant("bias"), b.constant("weight"));
      break;
    case Kind::gelu:
      y = b.gelu(x);
      break;
    case Kind::silu:
      y = b.silu(x);
      break;
    default:
      return nullptr;
  }
  auto job = std::make_unique<SessionJob>(work, std::move(b.graph).model(y, shape), shape);
  job->add_input("x", work["x"].data, shape);
  return job;
}

std::unique_ptr<Job> prepare(const Work& work, Operators operators) {
  const bool products = work.kind == Kind::gemm || work.kind == Kind::block || work.kind == Kind::policy_step;
  if (work.dtype == Dtype::bf16 || (work.dtype == Dtype::int8 && !products)) return nullptr;
  if (operators == Operators::standard && (work.dtype == Dtype::int8 || work.kind == Kind::decode)) return nullptr;
  switch (work.kind) {
    case Kind::gemm:
      return gemm(work, operators);
    case Kind::attention:
    case Kind::decode:
      return attention(work, operators);
    case Kind::block:
      return block(work, operators);
    case Kind::policy_step:
      return policy_step(work, operators);
    default:
      break;
  }
  if (operators == Operators::standard) return nullptr;
  return work.kind == Kind::linear_attention ? linear_attention(work) : rows(work);
}

}  // namespace
}  // namespace peers

PEERS_EXPORT void register_peers(std::vector<peers::Peer>& list) {
  using namespace peers;
  if (!api().found()) return;
  const std::string& version = api().version();
  list.push_back({"onnxruntime", version, [](const Work& work) { return prepare(work, Operators::fused); }});
  list.push_back(
      {"onnxruntime+standard", version, [](const Work& work) { return prepare(work, Operators::standard); }});
}
