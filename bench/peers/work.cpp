#include "bench/peers/work.hpp"

#include <charconv>
#include <cmath>
#include <cstdint>

namespace peers {
namespace {

struct Pattern {
  std::string_view name;
  Kind kind;
  std::size_t extents;
  bool may_be_causal = false;
};
constexpr Pattern patterns[] = {
    {"gemm", Kind::gemm, 3},                      // M_K_N: x [M, K], weight [N, K], bias
    {"attention", Kind::attention, 2, true},      // Nq_Nk: 24 heads of 64
    {"decode", Kind::decode, 3},                  // H_Nk_D: one query
    {"block", Kind::block, 3},                    // C_N_M: N image and M text tokens of width C, heads of 64
    {"block_backward", Kind::block_backward, 3},  // its gradients of everything; the forward is not timed
    {"policy_step", Kind::policy_step, 0},
    {"linear_attention", Kind::linear_attention, 3, true},  // H_N_D: features elu(x) + 1
    {"scan", Kind::scan, 3},                                // L_D_S: tokens, channels, states
    {"softmax", Kind::softmax, 2},                          // R_C and below: rows, columns
    {"layer_norm", Kind::layer_norm, 2},
    {"rms_norm", Kind::rms_norm, 2},
    {"modulate", Kind::modulate, 2},
    {"gelu", Kind::gelu, 2},  // by tanh
    {"silu", Kind::silu, 2},
};

// The numbers behind "_" in "_1024_77"; nothing where there is anything else.
std::optional<std::vector<std::int64_t>> numbers(std::string_view text) {
  std::vector<std::int64_t> found;
  while (!text.empty()) {
    if (text[0] != '_') return std::nullopt;
    text.remove_prefix(1);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || number <= 0 || number > (std::int64_t{1} << 24)) return std::nullopt;
    found.push_back(number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
  return found;
}

std::uint32_t mix(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

}  // namespace

std::optional<OwnedWork> OwnedWork::parse(std::string_view name) {
  for (const Pattern& pattern : patterns) {
    if (!name.starts_with(pattern.name)) continue;
    std::string_view rest = name.substr(pattern.name.size());
    constexpr std::string_view causal = "_causal";
    const bool is_causal = pattern.may_be_causal && rest.ends_with(causal);
    if (is_causal) rest.remove_suffix(causal.size());
    const auto extents = numbers(rest);
    if (!extents || extents->size() != pattern.extents) continue;
    OwnedWork made;
    made.work_.name = name;
    made.work_.kind = pattern.kind;
    made.work_.extents = *extents;
    made.work_.causal = is_causal;
    made.describe();
    return made;
  }
  return std::nullopt;
}

void OwnedWork::add(std::string name, std::vector<std::int64_t> shape, float scale, float offset) {
  work_.inputs.push_back({std::move(name), std::move(shape), nullptr});
  ranges_.push_back({scale, offset});
}

void OwnedWork::add_linear(const std::string& name, std::int64_t out, std::int64_t in) {
  add(name + ".weight", {out, in}, 1.7f / std::sqrt(static_cast<float>(in)));
  add(name + ".bias", {out}, 0.1f);
}

// Inputs are uniform in [offset - scale, offset + scale].
void OwnedWork::describe() {
  const auto& e = work_.extents;
  const auto real = [&](std::size_t i) { return static_cast<double>(e[i]); };
  switch (work_.kind) {
    case Kind::gemm:
      add("x", {e[0], e[1]}, 1.7f);
      add("weight", {e[2], e[1]}, 1.7f / std::sqrt(static_cast<float>(e[1])));
      add("bias", {e[2]}, 1.0f);
      work_.results = e[0] * e[2];
      work_.flops = 2 * real(0) * real(1) * real(2);
      if (e[0] == 1) work_.read = 4 * real(1) * real(2);
      break;
    case Kind::attention: {
      const std::int64_t heads = attention_heads, width = head_width;
      add("q", {heads, e[0], width}, 1.7f);
      add("k", {heads, e[1], width}, 1.7f);
      add("v", {heads, e[1], width}, 1.0f);
      work_.results = heads * e[0] * width;
      const double pairs = real(0) * (work_.causal ? (real(1) + 1) / 2 : real(1));
      work_.flops = 4 * static_cast<double>(heads * width) * pairs;
      break;
    }
    case Kind::decode:
      add("q", {e[0], 1, e[2]}, 1.7f);
      add("k", {e[0], e[1], e[2]}, 1.7f);
      add("v", {e[0], e[1], e[2]}, 1.0f);
      work_.results = e[0] * e[2];
      work_.flops = 4 * real(0) * real(1) * real(2);
      work_.read = 8 * real(0) * real(1) * real(2);
      break;
    case Kind::block:
    case Kind::block_backward: {
      const std::int64_t c = e[0], tokens[] = {e[1], e[2]};
      for (std::size_t s = 0; s < 2; ++s) add(stream_names[s].tokens, {1, tokens[s], c}, 1.7f);
      add("c", {1, c}, 1.0f);
      for (const StreamNames& n : stream_names) {
        add_linear(n.modulation, 6 * c, c);
        for (const char* linear : {n.q, n.k, n.v, n.out}) add_linear(linear, c, c);
        for (const char* norm : {n.norm_q, n.norm_k}) add(std::string(norm) + ".weight", {head_width}, 0.2f, 1.0f);
        add_linear(n.fc1, 4 * c, c);
        add_linear(n.fc2, c, 4 * c);
      }
      work_.results = (e[1] + e[2]) * c;
      const double n = real(1) + real(2), gemm = 2 * n * 12 * real(0) * real(0), mix = 4 * n * n * real(0);
      const double modulation = 2 * 2 * 6 * real(0) * real(0);
      work_.flops = work_.kind == Kind::block ? gemm + mix + modulation : 2 * (gemm + modulation) + 2.5 * mix;
      break;
    }
    case Kind::policy_step: {
      const std::int64_t c = policy_width;
      add("x", {1, policy_tokens, c}, 1.7f);
      add("condition", {1, c}, 1.7f);
      for (std::int64_t i = 0; i < policy_depth; ++i) {
        const std::string block = "blocks." + std::to_string(i) + ".";
        add_linear(block + "adaLN_modulation.1", 6 * c, c);
        add_linear(block + "attn.qkv", 3 * c, c);
        add_linear(block + "attn.proj", c, c);
        add_linear(block + "mlp.fc1", 4 * c, c);
        add_linear(block + "mlp.fc2", c, 4 * c);
      }
      add_linear("final_layer.adaLN_modulation.1", 2 * c, c);
      add_linear("final_layer.linear", policy_actions, c);
      work_.results = policy_tokens * policy_actions;
      work_.each_call = true;
      const double n = policy_tokens, w = policy_width;
      work_.flops =
          policy_depth * (24 * n * w * w + 4 * n * n * w + 12 * w * w) + 4 * w * w + 2 * n * w * policy_actions;
      break;
    }
    case Kind::linear_attention:
      for (const char* name : {"q", "k", "v"}) add(name, {e[0], e[1], e[2]}, 1.0f);
      work_.results = e[0] * e[1] * e[2];
      work_.flops = 4 * real(0) * real(1) * real(2) * real(2);
      break;
    case Kind::scan:
      add("u", {e[0], e[1]}, 1.0f);
      add("delta", {e[0], e[1]}, 0.05f, 0.06f);
      add("a", {e[1], e[2]}, 2.0f, -2.5f);
      add("b", {e[0], e[2]}, 1.0f);
      add("c", {e[0], e[2]}, 1.0f);
      add("d", {e[1]}, 1.0f);
      work_.results = e[0] * e[1];
      work_.flops = 6 * real(0) * real(1) * real(2);
      break;
    case Kind::softmax:
    case Kind::layer_norm:
    case Kind::rms_norm:
    case Kind::modulate:
    case Kind::gelu:
    case Kind::silu:
      add("x", {e[0], e[1]}, 3.0f);
      add("weight", {e[1]}, 0.5f, 1.0f);  // modulate: the scale
      add("bias", {e[1]}, 0.5f);          // the shift
      work_.results = e[0] * e[1];
      work_.copied = 4 * real(0) * real(1);
      break;
  }
}

void OwnedWork::make_inputs() {
  if (!memory_.empty()) return;
  for (std::size_t i = 0; i < work_.inputs.size(); ++i) {
    Floats& values = memory_.emplace_back(work_.inputs[i].count());
    const std::uint32_t seed = static_cast<std::uint32_t>(i + 1) * 0x9e3779b9u;
    for (std::int64_t j = 0; j < values.count(); ++j) {
      const std::uint32_t bits = mix(static_cast<std::uint32_t>(j) + seed) >> 8;
      values.data()[j] = ranges_[i].offset + ranges_[i].scale * (static_cast<float>(bits) * 0x1p-23f - 1.0f);
    }
    work_.inputs[i].data = values.data();
  }
}

Work OwnedWork::with(Dtype dtype, int threads) const {
  Work made = work_;
  made.dtype = dtype;
  made.threads = threads;
  if (made.kind == Kind::gemm && dtype != Dtype::f32) made.read /= dtype == Dtype::bf16 ? 2 : 4;
  return made;
}

std::vector<Dtype> OwnedWork::dtypes() const {
  switch (work_.kind) {
    case Kind::gemm:
    case Kind::block:
      return {Dtype::f32, Dtype::bf16, Dtype::int8};
    case Kind::attention:
    case Kind::policy_step:
      return {Dtype::f32, Dtype::bf16};
    default:
      return {Dtype::f32};
  }
}

const std::vector<std::string>& default_works() {
  static const std::vector<std::string> names = {"gemm_1_1536_1536",
                                                 "gemm_64_64_256",
                                                 "gemm_77_1536_1536",
                                                 "gemm_256_256_1024",
                                                 "gemm_1024_1536_1536",
                                                 "gemm_1024_1536_6144",
                                                 "gemm_4096_1536_1536",
                                                 "attention_256_256",
                                                 "attention_1024_1024",
                                                 "attention_1024_1024_causal",
                                                 "attention_1024_77",
                                                 "attention_4096_4096",
                                                 "decode_24_1024_64",
                                                 "decode_24_4096_64",
                                                 "decode_24_16384_64",
                                                 "block_1536_1024_154",
                                                 "block_backward_1536_1024_154",
                                                 "policy_step",
                                                 "linear_attention_16_4096_64",
                                                 "linear_attention_16_4096_64_causal",
                                                 "scan_4096_512_16",
                                                 "softmax_4096_4096",
                                                 "layer_norm_4096_1536",
                                                 "layer_norm_4096_6144",
                                                 "rms_norm_4096_1536",
                                                 "rms_norm_4096_6144",
                                                 "modulate_4096_1536",
                                                 "modulate_4096_6144",
                                                 "gelu_4096_6144",
                                                 "silu_4096_1536",
                                                 "silu_4096_6144"};
  return names;
}

}  // namespace peers
