// libtorch, eager, in inference mode. bf16: weights and activations are bf16 beforehand, and so are results.
#include <dlfcn.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/autograd.h>
#include <torch/version.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "bench/peers/plugin.hpp"

namespace peers {
namespace {

using at::Tensor;

// Of libtorch, and of the BLAS that it may be linked to, which it leaves as another has set it.
void set_threads(int threads) {
  static const auto set_blas_threads = [] {
    void* blas = dlopen("libblas.so.3", RTLD_LAZY | RTLD_NOLOAD);
    return reinterpret_cast<void (*)(int)>(blas ? dlsym(blas, "openblas_set_num_threads") : nullptr);
  }();
  at::set_num_threads(threads);
  if (set_blas_threads) set_blas_threads(threads);
}

class TorchJob final : public Job {
 public:
  TorchJob(int threads, std::function<Tensor()> run) : threads_(threads), run_(std::move(run)) {}
  void run() override {
    const c10::InferenceMode guard;
    set_threads(threads_);
    y_ = run_();
  }
  void result(std::span<float> out) override {
    const c10::InferenceMode guard;
    const Tensor y = y_.to(at::kFloat).contiguous();
    std::copy_n(y.data_ptr<float>(), out.size(), out.begin());
  }

 private:
  int threads_;
  std::function<Tensor()> run_;
  Tensor y_;
};

// Inputs by name, in the work's type.
class Inputs {
 public:
  explicit Inputs(const Work& work) : work_(work), type_(work.dtype == Dtype::bf16 ? at::kBFloat16 : at::kFloat) {}

  Tensor operator()(const std::string& name) const {
    const Input& input = work_[name];
    // The library never writes to it.
    return at::from_blob(const_cast<float*>(input.data), input.shape, at::kFloat).to(type_).contiguous();
  }
  at::ScalarType type() const { return type_; }

 private:
  const Work& work_;
  at::ScalarType type_;
};

struct Linear {
  Tensor weight, bias;
  Linear(const Inputs& in, const std::string& name) : weight(in(name + ".weight")), bias(in(name + ".bias")) {}
  Linear(Tensor of_weight, Tensor of_bias) : weight(std::move(of_weight)), bias(std::move(of_bias)) {}
  Tensor operator()(const Tensor& x) const { return at::linear(x, weight, bias); }
};

Tensor rms_norm(const Tensor& x, const Tensor& weight) {
  const Tensor square = x.to(at::kFloat).pow(2).mean(-1, true);
  return x * at::rsqrt(square + norm_eps).to(x.scalar_type()) * weight;
}

Tensor modulated_norm(const Tensor& x, const Tensor& shift, const Tensor& scale) {
  return at::layer_norm(x, {x.size(-1)}, {}, {}, norm_eps) * (1 + scale) + shift;
}

// [B, H, N, D]. Before version 2 there is no fused attention for processors.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask = {}) {
#if TORCH_VERSION_MAJOR >= 2
  if (!mask.defined()) return at::scaled_dot_product_attention(q, k, v);
  return at::scaled_dot_product_attention(q, k, v, {}, 0.0, true);
#endif
  Tensor scores = at::matmul(q * (1 / std::sqrt(static_cast<double>(q.size(-1)))), k.transpose(-2, -1));
  if (mask.defined()) scores = scores + mask;
  return at::matmul(at::softmax(scores, -1), v);
}

struct Stream {
  Linear modulation, qkv, out, fc1, fc2;
  Tensor norm_q, norm_k;
  Stream(const Inputs& in, const StreamNames& n)
      : modulation(in, n.modulation),
        qkv(joined(in, n)),
        out(in, n.out),
        fc1(in, n.fc1),
        fc2(in, n.fc2),
        norm_q(in(std::string(n.norm_q) + ".weight")),
        norm_k(in(std::string(n.norm_k) + ".weight")) {}

  static Linear joined(const Inputs& in, const StreamNames& n) {
    const Linear q(in, n.q), k(in, n.k), v(in, n.v);
    return {at::cat({q.weight, k.weight, v.weight}), at::cat({q.bias, k.bias, v.bias})};
  }
};

// Tokens of both streams, one after the other, [1, N + M, C].
Tensor block(const std::array<Stream, 2>& streams, const std::array<Tensor, 2>& x, const Tensor& c) {
  const std::int64_t width = c.size(-1), heads = width / head_width;
  const Tensor condition = at::silu(c);
  std::array<std::vector<Tensor>, 2> rows;
  std::array<Tensor, 2> q, k, v;
  for (std::size_t s = 0; s < 2; ++s) {
    rows[s] = streams[s].modulation(condition).unsqueeze(1).chunk(6, -1);
    const Tensor qkv = streams[s].qkv(modulated_norm(x[s], rows[s][0], rows[s][1]));
    const auto parts = qkv.view({1, -1, 3, heads, head_width}).unbind(2);
    q[s] = rms_norm(parts[0], streams[s].norm_q);
    k[s] = rms_norm(parts[1], streams[s].norm_k);
    v[s] = parts[2];
  }
  const auto joint = [](const std::array<Tensor, 2>& parts) {
    return at::cat({parts[0], parts[1]}, 1).transpose(1, 2).contiguous();
  };
  const Tensor mixed = attention(joint(q), joint(k), joint(v)).transpose(1, 2).reshape({1, -1, width});
  std::array<Tensor, 2> y;
  std::int64_t first = 0;
  for (std::size_t s = 0; s < 2; ++s) {
    const Tensor own = mixed.narrow(1, first, x[s].size(1));
    first += x[s].size(1);
    const Tensor h = x[s] + rows[s][2] * streams[s].out(own);
    const Tensor hidden = at::gelu(streams[s].fc1(modulated_norm(h, rows[s][3], rows[s][4])), "tanh");
    y[s] = h + rows[s][5] * streams[s].fc2(hidden);
  }
  return at::cat({y[0], y[1]}, 1);
}

// The gradients of everything; the cotangent of each token is itself.
class BlockBackwardJob final : public Job {
 public:
  explicit BlockBackwardJob(const Work& work)
      : threads_(work.threads),
        in_(work),
        streams_{Stream(in_, stream_names[0]), Stream(in_, stream_names[1])},
        x_{in_("image"), in_("text")},
        c_(in_("c")) {
    for (Stream& s : streams_) {
      for (Linear* linear : {&s.modulation, &s.qkv, &s.out, &s.fc1, &s.fc2}) {
        variables_.insert(variables_.end(), {linear->weight, linear->bias});
      }
      variables_.insert(variables_.end(), {s.norm_q, s.norm_k});
    }
    variables_.push_back(c_);
    for (Tensor& x : x_) variables_.push_back(x);
    for (Tensor& variable : variables_) variable.requires_grad_(true);
    seed_ = at::cat({x_[0].detach(), x_[1].detach()}, 1);
  }

  bool before() override {
    set_threads(threads_);
    gradients_.clear();
    y_ = block(streams_, x_, c_);
    return true;
  }
  void run() override { gradients_ = torch::autograd::grad({y_}, variables_, {seed_}); }
  void result(std::span<float> out) override {
    const std::size_t last = gradients_.size();
    const Tensor y = at::cat({gradients_[last - 2], gradients_[last - 1]}, 1).to(at::kFloat).contiguous();
    std::copy_n(y.data_ptr<float>(), out.size(), out.begin());
  }

 private:
  int threads_;
  Inputs in_;
  std::array<Stream, 2> streams_;
  std::array<Tensor, 2> x_;
  Tensor c_, seed_, y_;
  std::vector<Tensor> variables_, gradients_;
};

std::function<Tensor()> block(const Inputs& in) {
  return [streams = std::array{Stream(in, stream_names[0]), Stream(in, stream_names[1])},
          x = std::array{in("image"), in("text")}, c = in("c")] { return block(streams, x, c); };
}

std::function<Tensor()> policy_step(const Inputs& in) {
  struct PolicyBlock {
    Linear modulation, qkv, proj, fc1, fc2;
  };
  std::vector<PolicyBlock> blocks;
  for (std::int64_t i = 0; i < policy_depth; ++i) {
    const std::string name = "blocks." + std::to_string(i) + ".";
    blocks.push_back({{in, name + "adaLN_modulation.1"},
                      {in, name + "attn.qkv"},
                      {in, name + "attn.proj"},
                      {in, name + "mlp.fc1"},
                      {in, name + "mlp.fc2"}});
  }
  return [=, tokens = in("x"), condition = in("condition"),
          last_modulation = Linear(in, "final_layer.adaLN_modulation.1"), last = Linear(in, "final_layer.linear")] {
    const Tensor c = at::silu(condition);
    Tensor x = tokens;
    for (const PolicyBlock& b : blocks) {
      const auto rows = b.modulation(c).unsqueeze(1).chunk(6, -1);
      const Tensor qkv = b.qkv(modulated_norm(x, rows[0], rows[1]));
      const auto parts =
          qkv.view({1, policy_tokens, 3, policy_heads, policy_width / policy_heads}).permute({2, 0, 3, 1, 4}).unbind(0);
      const Tensor mixed = attention(parts[0], parts[1], parts[2]).transpose(1, 2).reshape(x.sizes());
      x = x + rows[2] * b.proj(mixed);
      x = x + rows[5] * b.fc2(at::gelu(b.fc1(modulated_norm(x, rows[3], rows[4])), "tanh"));
    }
    const auto rows = last_modulation(c).unsqueeze(1).chunk(2, -1);
    return last(modulated_norm(x, rows[0], rows[1]));
  };
}

Tensor linear_attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  const Tensor a = at::elu(q) + 1, b = at::elu(k) + 1;
  return at::matmul(a, at::matmul(b.transpose(1, 2), v)) / at::matmul(a, b.sum(1).unsqueeze(-1));
}

// In chunks of 64 tokens: within them by scores, from before by a state.
Tensor causal_linear_attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  constexpr std::int64_t chunk = 64;
  const std::int64_t heads = q.size(0), width = q.size(2);
  const auto chunks = [&](const Tensor& x) { return x.view({heads, -1, chunk, width}); };
  const Tensor a = chunks(at::elu(q) + 1), b = chunks(at::elu(k) + 1), values = chunks(v);
  const Tensor state = at::matmul(b.transpose(2, 3), values), sum = b.sum(2);
  const Tensor before = state.cumsum(1) - state, sum_before = sum.cumsum(1) - sum;
  const Tensor scores = at::matmul(a, b.transpose(2, 3)).tril();
  const Tensor numerator = at::matmul(scores, values) + at::matmul(a, before);
  const Tensor denominator = scores.sum(-1, true) + at::matmul(a, sum_before.unsqueeze(-1));
  return (numerator / denominator).view(q.sizes());
}

// The published sequential reference: a step of operations for each token.
Tensor scan(const Tensor& u, const Tensor& delta, const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& d) {
  const Tensor decay = at::exp(delta.unsqueeze(-1) * a), input = (delta * u).unsqueeze(-1) * b.unsqueeze(1);
  Tensor state = at::zeros_like(a);
  std::vector<Tensor> y;
  for (std::int64_t t = 0; t < u.size(0); ++t) {
    state = decay[t] * state + input[t];
    y.push_back(at::matmul(state, c[t]));
  }
  return at::stack(y) + u * d;
}

std::function<Tensor()> computation(const Work& work) {
  const Inputs in(work);
  switch (work.kind) {
    case Kind::gemm:
      return [x = in("x"), linear = Linear(in("weight"), in("bias"))] { return linear(x); };
    case Kind::attention:
    case Kind::decode: {
      Tensor mask;
      if (work.causal) {
        const at::TensorOptions options(at::kFloat);
        mask = at::full({work.extents[0], work.extents[1]}, -std::numeric_limits<float>::infinity(), options)
                   .triu(1)
                   .to(in.type());
      }
      return [q = in("q"), k = in("k"), v = in("v"), mask] { return attention(q, k, v, mask); };
    }
    case Kind::block:
      return block(in);
    case Kind::policy_step:
      return policy_step(in);
    case Kind::linear_attention:
      return [q = in("q"), k = in("k"), v = in("v"), causal = work.causal] {
        return causal ? causal_linear_attention(q, k, v) : linear_attention(q, k, v);
      };
    case Kind::scan:
      return [u = in("u"), delta = in("delta"), a = in("a"), b = in("b"), c = in("c"), d = in("d")] {
        return scan(u, delta, a, b, c, d);
      };
    case Kind::softmax:
      return [x = in("x")] { return at::softmax(x, -1); };
    case Kind::layer_norm:
      return [x = in("x"), weight = in("weight"), bias = in("bias")] {
        return at::layer_norm(x, weight.sizes(), weight, bias, norm_eps);
      };
    case Kind::rms_norm:
      return [x = in("x"), weight = in("weight")] { return rms_norm(x, weight); };
    case Kind::modulate:
      return [x = in("x"), scale = in("weight"), shift = in("bias")] { return x * (1 + scale) + shift; };
    case Kind::gelu:
      return [x = in("x")] { return at::gelu(x, "tanh"); };
    case Kind::silu:
      return [x = in("x")] { return at::silu(x); };
    default:
      return {};
  }
}

std::unique_ptr<Job> prepare(const Work& work) {
  if (work.dtype == Dtype::int8) return nullptr;
  if (work.kind == Kind::block_backward) return std::make_unique<BlockBackwardJob>(work);
  const c10::InferenceMode guard;
  set_threads(work.threads);
  auto run = computation(work);
  if (!run) return nullptr;
  return std::make_unique<TorchJob>(work.threads, std::move(run));
}

}  // namespace
}  // namespace peers

PEERS_EXPORT void register_peers(std::vector<peers::Peer>& list) {
  list.push_back({"torch", TORCH_VERSION, peers::prepare});
}
