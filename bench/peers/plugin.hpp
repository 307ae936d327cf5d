// What the harness and the plugins of bench/peers share: a piece of work with its inputs, and a peer that does it.
// A plugin is a shared object with one function, register_peers. All are built by one compiler, so C++ may cross.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace peers {

enum class Kind {
  gemm,
  attention,
  decode,
  block,
  block_backward,
  policy_step,
  linear_attention,
  scan,
  softmax,
  layer_norm,
  rms_norm,
  modulate,
  gelu,
  silu
};

// What products may round: nothing, operands to bf16, or weights (by channel) and activations (by row) to 8 bits.
enum class Dtype { f32, bf16, int8 };

constexpr const char* name_of(Dtype dtype) {
  return dtype == Dtype::f32 ? "f32" : dtype == Dtype::bf16 ? "bf16" : "int8";
}

// Dense, row-major, the weight of a linear as [out, in].
struct Input {
  std::string name;
  std::vector<std::int64_t> shape;
  const float* data = nullptr;

  std::int64_t count() const {
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) n *= extent;
    return n;
  }
};

struct Work {
  std::string name;
  Kind kind = Kind::gemm;
  std::vector<std::int64_t> extents;  // the numbers of the name
  bool causal = false;
  Dtype dtype = Dtype::f32;
  int threads = 1;
  std::vector<Input> inputs;    // of every dtype in f32
  std::int64_t results = 0;     // elements of the result, dense f32
  double flops = 0;             // 0 where bytes are what counts
  double copied = 0, read = 0;  // bytes that a copy or a read of the operands would move; 0: nothing to compare with
  bool each_call = false;       // what counts is the slowest call too

  const Input& operator[](std::string_view input) const {
    for (const Input& candidate : inputs) {
      if (candidate.name == input) return candidate;
    }
    throw std::out_of_range(name + " has no input " + std::string(input));
  }
};

// The names of what a stream of block_C_N_M has, those of diffusers' SD3 block; `weight` and `bias` follow a dot.
struct StreamNames {
  const char *tokens, *modulation, *q, *k, *v, *norm_q, *norm_k, *out, *fc1, *fc2;
};
inline constexpr StreamNames stream_names[] = {
    {"image", "norm1.linear", "attn.to_q", "attn.to_k", "attn.to_v", "attn.norm_q", "attn.norm_k", "attn.to_out.0",
     "ff.net.0.proj", "ff.net.2"},
    {"text", "norm1_context.linear", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.norm_added_q",
     "attn.norm_added_k", "attn.to_add_out", "ff_context.net.0.proj", "ff_context.net.2"}};

inline constexpr std::int64_t head_width = 64, attention_heads = 24;
inline constexpr double norm_eps = 1e-6;

// policy_step: a DiT of 8 blocks on 64 tokens of width 256, one sample; its parameters have the names of that model.
inline constexpr std::int64_t policy_depth = 8, policy_tokens = 64, policy_width = 256, policy_heads = 4,
                              policy_actions = 16;

// What a piece of work can't do without, measured beside it and no peer: moving its bytes (copy, read), the
// exponentials of its states (exp).
inline bool is_limit(std::string_view peer) { return peer == "copy" || peer == "read" || peer == "exp"; }

// Floats aligned to a page.
class Floats {
 public:
  explicit Floats(std::int64_t count = 0)
      : count_(count), data_(static_cast<float*>(std::aligned_alloc(page, round(count)))) {
    if (!data_) throw std::bad_alloc();
    std::fill_n(data_.get(), count_, 0.0f);
  }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::int64_t count() const { return count_; }

 private:
  static constexpr std::size_t page = 4096;
  static std::size_t round(std::int64_t count) {
    return (static_cast<std::size_t>(count) * sizeof(float) + page) / page * page;
  }
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };

  std::int64_t count_;
  std::unique_ptr<float, Free> data_;
};

// Work made ready by a peer: weights packed, memory taken.
class Job {
 public:
  Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  virtual ~Job() = default;

  virtual bool before() { return false; }  // untimed, before a run; true if every single run needs it
  virtual void run() = 0;                  // timed
  virtual void result(std::span<float> out) = 0;
};

namespace detail {

template <class Run>
class BufferJob final : public Job {
 public:
  BufferJob(std::int64_t results, Run run) : y_(results), run_(std::move(run)) {}
  void run() override { run_(y_.data()); }
  void result(std::span<float> out) override { std::copy_n(y_.data(), out.size(), out.begin()); }

 private:
  Floats y_;
  Run run_;
};

}  // namespace detail

// A job whose run(y) writes the dense result to y.
template <class Run>
std::unique_ptr<Job> job_writing(std::int64_t results, Run run) {
  return std::make_unique<detail::BufferJob<Run>>(results, std::move(run));
}

// Somebody who does work. `prepare` gives nothing for what it can't do, and may throw.
struct Peer {
  std::string name, version;
  std::function<std::unique_ptr<Job>(const Work&)> prepare;
};

}  // namespace peers

#if defined(__GNUC__)
#define PEERS_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define PEERS_EXPORT extern "C"
#endif
