// ggml through the shared libraries that the npm package @node-llama-cpp/linux-x64 brings, by declarations of our own
// of the few functions used. Weights are f32, bf16 or (int8) Q8_0, blocks of 32 with a scale each, which the library
// multiplies with activations that it rounds alike in the call.
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/peers/plugin.hpp"

namespace peers {
namespace {

// What ggml.h and ggml-backend.h declare.
struct ggml_context;
struct ggml_tensor;
struct ggml_cgraph;
struct ggml_backend;
struct ggml_backend_buffer;
struct ggml_init_params {
  std::size_t mem_size;
  void* mem_buffer;
  bool no_alloc;
};
enum GgmlType : int { ggml_f32 = 0, ggml_q8_0 = 8, ggml_i32 = 26, ggml_bf16 = 30 };

class Library {
 public:
  // The processor's variant with the highest score of those in the folder.
  explicit Library(const std::filesystem::path& folder) {
    base_ = dlopen((folder / "libggml-base.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!base_) return;
    int best = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (!entry.path().filename().string().starts_with("libggml-cpu-")) continue;
      void* library = dlopen(entry.path().c_str(), RTLD_NOW | RTLD_LOCAL);
      if (!library) continue;
      const auto score = reinterpret_cast<int (*)()>(dlsym(library, "ggml_backend_score"));
      if (score && score() > best) {
        best = score();
        cpu_ = library;
      }
    }
  }
  bool found() const { return base_ && cpu_; }

  template <class R = ggml_tensor*, class... A>
  R call(const char* name, A... arguments) const {
    void* function = dlsym(base_, name);
    if (!function) function = dlsym(cpu_, name);
    if (!function) throw std::runtime_error(std::string("ggml has no ") + name);
    return reinterpret_cast<R (*)(A...)>(function)(arguments...);
  }

 private:
  void *base_ = nullptr, *cpu_ = nullptr;
};

const Library& library() {
  static const Library instance(GGML_FOLDER);
  return instance;
}

// A graph of one work. Extents are ggml's: the innermost first.
class GraphJob final : public Job {
 public:
  using Tensor = ggml_tensor*;

  explicit GraphJob(int threads)
      : context_(library().call<ggml_context*>("ggml_init", ggml_init_params{std::size_t{1} << 24, nullptr, true})),
        backend_(library().call<ggml_backend*>("ggml_backend_cpu_init")) {
    library().call<void>("ggml_backend_cpu_set_n_threads", backend_, threads);
  }
  ~GraphJob() override {
    if (buffer_) library().call<void>("ggml_backend_buffer_free", buffer_);
    library().call<void>("ggml_backend_free", backend_);
    library().call<void>("ggml_free", context_);
  }

  // An operand with the values of an f32 array.
  Tensor operand(GgmlType type, const std::vector<std::int64_t>& extents, const float* values) {
    std::int64_t e[4] = {1, 1, 1, 1};
    std::copy(extents.begin(), extents.end(), e);
    Tensor made = library().call("ggml_new_tensor_4d", context_, static_cast<int>(type), e[0], e[1], e[2], e[3]);
    const std::int64_t rows = e[1] * e[2] * e[3];
    std::vector<unsigned char> bytes;
    if (type == ggml_f32 || type == ggml_i32) {
      bytes.resize(static_cast<std::size_t>(rows * e[0]) * 4);
      std::memcpy(bytes.data(), values, bytes.size());
    } else {
      bytes.resize(static_cast<std::size_t>(rows) *
                   library().call<std::size_t>("ggml_row_size", static_cast<int>(type), e[0]));
      library().call<std::size_t>("ggml_quantize_chunk", static_cast<int>(type), values,
                                  static_cast<void*>(bytes.data()), std::int64_t{0}, rows, e[0],
                                  static_cast<const float*>(nullptr));
    }
    contents_.push_back({made, std::move(bytes)});
    return made;
  }

  template <class... A>
  Tensor op(const char* name, A... arguments) {
    return library().call(name, context_, arguments...);
  }

  // Ends the building: `result` and what it needs get memory, operands their values.
  void finish(Tensor result) {
    result_ = result;
    graph_ = library().call<ggml_cgraph*>("ggml_new_graph", context_);
    library().call<void>("ggml_build_forward_expand", graph_, result);
    buffer_ = library().call<ggml_backend_buffer*>("ggml_backend_alloc_ctx_tensors", context_, backend_);
    for (const Contents& c : contents_) {
      library().call<void>("ggml_backend_tensor_set", c.tensor, static_cast<const void*>(c.bytes.data()),
                           std::size_t{0}, c.bytes.size());
    }
    contents_.clear();
  }

  void swap_result(std::int64_t rows, std::int64_t parts, std::int64_t width) {
    rows_ = rows, parts_ = parts, width_ = width;
  }
  void run() override { library().call<int>("ggml_backend_graph_compute", backend_, graph_); }
  void result(std::span<float> out) override {
    std::vector<float> y(out.size());
    library().call<void>("ggml_backend_tensor_get", static_cast<const ggml_tensor*>(result_),
                         static_cast<void*>(y.data()), std::size_t{0}, y.size() * sizeof(float));
    if (rows_ == 0) {
      std::copy(y.begin(), y.end(), out.begin());
      return;
    }
    for (std::int64_t r = 0; r < rows_; ++r) {  // [rows, parts, width] where [parts, rows, width] is wanted
      for (std::int64_t p = 0; p < parts_; ++p) {
        std::copy_n(y.begin() + (r * parts_ + p) * width_, width_, out.begin() + (p * rows_ + r) * width_);
      }
    }
  }

 private:
  struct Contents {
    Tensor tensor;
    std::vector<unsigned char> bytes;
  };

  ggml_context* context_;
  ggml_backend* backend_;
  ggml_backend_buffer* buffer_ = nullptr;
  ggml_cgraph* graph_ = nullptr;
  Tensor result_ = nullptr;
  std::vector<Contents> contents_;
  std::int64_t rows_ = 0, parts_ = 0, width_ = 0;
};

void gemm(GraphJob& job, const Work& work) {
  const std::int64_t m = work.extents[0], k = work.extents[1], n = work.extents[2];
  const GgmlType type = work.dtype == Dtype::f32 ? ggml_f32 : work.dtype == Dtype::bf16 ? ggml_bf16 : ggml_q8_0;
  const auto weight = job.operand(type, {k, n}, work["weight"].data), x = job.operand(ggml_f32, {k, m}, work["x"].data);
  job.finish(job.op("ggml_add", job.op("ggml_mul_mat", weight, x), job.operand(ggml_f32, {n}, work["bias"].data)));
}

void attention(GraphJob& job, const Work& work) {
  const bool decode = work.kind == Kind::decode;
  const std::int64_t heads = decode ? work.extents[0] : attention_heads, width = decode ? work.extents[2] : head_width;
  const std::int64_t nq = decode ? 1 : work.extents[0], nk = work.extents[1];
  const auto q = job.operand(ggml_f32, {width, nq, heads}, work["q"].data);
  const auto k = job.operand(ggml_f32, {width, nk, heads}, work["k"].data);
  const auto v = job.operand(ggml_f32, {width, nk, heads}, work["v"].data);
  const float scale = 1 / std::sqrt(static_cast<float>(width));
  job.finish(job.op("ggml_flash_attn_ext", q, k, v, static_cast<ggml_tensor*>(nullptr), scale, 0.0f, 0.0f));
  job.swap_result(nq, heads, width);
}

// The library applies softplus to delta, so it gets what has our delta as its softplus.
void scan(GraphJob& job, const Work& work) {
  const std::int64_t tokens = work.extents[0], channels = work.extents[1], states = work.extents[2];
  const Input& delta = work["delta"];
  std::vector<float> before(static_cast<std::size_t>(delta.count()));
  std::transform(delta.data, delta.data + delta.count(), before.begin(),
                 [](float x) { return std::log(std::expm1(x)); });
  const std::vector<float> zeros(static_cast<std::size_t>(states * channels));
  const std::int32_t sequence = 0;
  float sequence_bits;
  std::memcpy(&sequence_bits, &sequence, sizeof sequence);
  const auto state = job.operand(ggml_f32, {states, 1, channels, 1}, zeros.data());
  const auto u = job.operand(ggml_f32, {1, channels, tokens, 1}, work["u"].data);
  const auto dt = job.operand(ggml_f32, {channels, tokens, 1}, before.data());
  const auto a = job.operand(ggml_f32, {states, channels}, work["a"].data);
  const auto b = job.operand(ggml_f32, {states, 1, tokens, 1}, work["b"].data);
  const auto c = job.operand(ggml_f32, {states, 1, tokens, 1}, work["c"].data);
  const auto d = job.operand(ggml_f32, {channels}, work["d"].data);
  const auto ids = job.operand(ggml_i32, {1}, &sequence_bits);
  // The outputs, and the state behind them. Newer versions have an argument more, which must be 1.
  const auto scanned = job.op("ggml_ssm_scan", state, u, dt, a, b, c, ids, std::int64_t{1});
  const auto y = job.op("ggml_view_1d", scanned, channels * tokens, std::size_t{0});
  const auto input = job.op("ggml_reshape_2d", u, channels, tokens);
  job.finish(job.op("ggml_add", job.op("ggml_reshape_2d", y, channels, tokens), job.op("ggml_mul", input, d)));
}

bool rows(GraphJob& job, const Work& work) {
  const std::int64_t columns = work.extents[1];
  const auto x = job.operand(ggml_f32, {columns, work.extents[0]}, work["x"].data);
  const auto vector = [&](const char* name) { return job.operand(ggml_f32, {columns}, work[name].data); };
  constexpr auto eps = static_cast<float>(norm_eps);
  switch (work.kind) {
    case Kind::softmax:
      job.finish(job.op("ggml_soft_max", x));
      return true;
    case Kind::layer_norm: {
      const auto normed = job.op("ggml_mul", job.op("ggml_norm", x, eps), vector("weight"));
      job.finish(job.op("ggml_add", normed, vector("bias")));
      return true;
    }
    case Kind::rms_norm:
      job.finish(job.op("ggml_mul", job.op("ggml_rms_norm", x, eps), vector("weight")));
      return true;
    case Kind::gelu:
      job.finish(job.op("ggml_gelu", x));
      return true;
    case Kind::silu:
      job.finish(job.op("ggml_silu", x));
      return true;
    default:
      return false;
  }
}

std::unique_ptr<Job> prepare(const Work& work) {
  if (work.causal || (work.dtype != Dtype::f32 && work.kind != Kind::gemm)) return nullptr;
  if (work.dtype == Dtype::int8 && work.extents[1] % 32 != 0) return nullptr;
  auto job = std::make_unique<GraphJob>(work.threads);
  switch (work.kind) {
    case Kind::gemm:
      gemm(*job, work);
      return job;
    case Kind::attention:
    case Kind::decode:
      attention(*job, work);
      return job;
    case Kind::scan:
      scan(*job, work);
      return job;
    case Kind::block:
    case Kind::block_backward:
    case Kind::policy_step:
    case Kind::linear_attention:
      return nullptr;
    default:
      if (!rows(*job, work)) return nullptr;
      return job;
  }
}

}  // namespace
}  // namespace peers

PEERS_EXPORT void register_peers(std::vector<peers::Peer>& list) {
  using namespace peers;
  if (!library().found()) return;
  list.push_back({"ggml", library().call<const char*>("ggml_version"), prepare});
}
