// How long a model takes from its file to the end of its first step, beside reading that file once: SD3 of medium's
// width in bf16, with LAYERS layers (a variable of the environment; 2 by default, 24 are the whole medium with 2.1
// billion parameters). The file lies in the system's cache. Counters, in seconds: read (the file once, by blocks),
// load, first and later (steps), load_per_read (of the same rounds); in bytes: file, pool_peak, and what lies in memory
// behind the last step, the process's own and of mapped files.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "aulos/core/random.hpp"
#include "aulos/models/sd3.hpp"
#include "aulos/nn/initialise.hpp"
#include "aulos/nn/packed_file.hpp"
#include "bench/numbers.hpp"

namespace {

namespace fs = std::filesystem;
using aulos::Index;
using aulos::Shape;
using Model = aulos::models::SD3<float>;

enum class Start { rows, packed, mapped };

template <class F>
double seconds(const F& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void read_once(const fs::path& path) {
  static std::vector<char> block(std::size_t{8} << 20);
  std::FILE* const file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return;
  while (std::fread(block.data(), 1, block.size(), file) == block.size()) benchmark::ClobberMemory();
  std::fclose(file);
}

// A line of /proc/self/status, in bytes; 0 where there is none.
double status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == name && status >> kib) return 1024 * kib;
  }
  return 0;
}

Index layers() {
  const char* const given = std::getenv("LAYERS");
  return given != nullptr ? std::atol(given) : 2;
}

// Removed at the end of the benchmark.
class File {
 public:
  explicit File(const char* name)
      : path_(fs::temp_directory_path() / ("aulos_load_" + std::to_string(::getpid()) + name)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void from_file(benchmark::State& state, Start start) {
  const aulos::models::SD3Config config{.num_layers = layers(), .num_attention_heads = 24};
  const File rows(".safetensors"), packed(".packed.safetensors");
  {
    Model model(config);
    aulos::Random random(1);
    aulos::nn::initialise_normal(model, random, 0.02);
    model.derive_buffers();
    model.save(rows.path().string(), aulos::Dtype::bf16);
    if (start != Start::rows) {
      aulos::nn::pack(model, aulos::Numeric::bf16);
      aulos::nn::save_packed(model, packed.path().string());
    }
  }
  const fs::path& path = start == Start::rows ? rows.path() : packed.path();
  aulos::models::SD3LoadOptions options;
  if (start == Start::rows) options.pack = aulos::Numeric::bf16;
  if (start == Start::mapped) options.mode = aulos::io::Mode::map;
  std::vector<double> reads, loads, firsts, laters, ratios;
  double pool = 0, own = 0, mapped = 0;
  for (auto _ : state) {
    reads.push_back(seconds([&] { read_once(path); }));
    aulos::Context context({.numeric = aulos::Numeric::bf16});
    const auto latent = context.normal<float>(Shape<4>{1, 16, 64, 64});
    const auto prompt = context.normal<float>(Shape<3>{1, 154, config.joint_attention_dim});
    const auto pooled = context.normal<float>(Shape<2>{1, config.pooled_projection_dim});
    const auto time = context.normal<float>(Shape<1>{1});
    Model model;
    const auto step = [&] { benchmark::DoNotOptimize(model(context, latent, prompt, pooled, time)); };
    loads.push_back(seconds([&] { model = Model::load(path.string(), options); }));
    firsts.push_back(seconds(step));
    laters.push_back(seconds(step));
    ratios.push_back(loads.back() / reads.back());
    pool = static_cast<double>(context.memory().peak);
    own = status_bytes("RssAnon:");
    mapped = status_bytes("RssFile:");
    state.SetIterationTime(loads.back() + firsts.back());
  }
  state.counters["read"] = bench::median(reads);
  state.counters["load"] = bench::median(loads);
  state.counters["first"] = bench::median(firsts);
  state.counters["later"] = bench::median(laters);
  state.counters["load_per_read"] = bench::median(ratios);
  state.counters["file"] = static_cast<double>(fs::file_size(path));
  state.counters["pool_peak"] = pool;
  state.counters["own"] = own;
  state.counters["mapped"] = mapped;
}

BENCHMARK_CAPTURE(from_file, rows, Start::rows)->UseManualTime()->Iterations(3)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(from_file, packed, Start::packed)->UseManualTime()->Iterations(3)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(from_file, mapped, Start::mapped)->UseManualTime()->Iterations(3)->Unit(benchmark::kMillisecond);

}  // namespace
