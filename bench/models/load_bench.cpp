// How long a model takes from its file to the end of its first step, beside reading that file once: SD3 of medium's
// width with as many layers as the argument says (24: the whole medium, 2.1 billion parameters; the file lies in the
// system's cache), in bf16. Counters, in seconds: read (the file once, by blocks), load, first and later (steps);
// load_per_read, by the same rounds; file_bytes.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
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
  const aulos::models::SD3Config config{.num_layers = state.range(0), .num_attention_heads = 24};
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
    state.SetIterationTime(loads.back() + firsts.back());
  }
  state.counters["read"] = bench::median(reads);
  state.counters["load"] = bench::median(loads);
  state.counters["first"] = bench::median(firsts);
  state.counters["later"] = bench::median(laters);
  state.counters["load_per_read"] = bench::median(ratios);
  state.counters["file_bytes"] = static_cast<double>(fs::file_size(path));
}

BENCHMARK_CAPTURE(from_file, rows, Start::rows)->Arg(2)->UseManualTime()->Iterations(3)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(from_file, packed, Start::packed)
    ->Arg(2)
    ->UseManualTime()
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(from_file, mapped, Start::mapped)
    ->Arg(2)
    ->UseManualTime()
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

}  // namespace
