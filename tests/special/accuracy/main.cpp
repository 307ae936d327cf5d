// Prints, as Markdown, what the kernels' results are worth on the instruction set that this program is built for.
//
//     accuracy_avx2 [POINTS]
//
// Elementwise functions: the largest error found. Products, attention, norms and softmax: RMS of the error against the
// naive twin in double on the same numbers, relative to the RMS of the result; a block's against that of the same block
// in double.
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "aulos/core/context.hpp"
#include "aulos/core/processor.hpp"
#include "aulos/kernels/attention.hpp"
#include "aulos/kernels/gemm.hpp"
#include "aulos/kernels/naive/attention.hpp"
#include "aulos/kernels/naive/gemm.hpp"
#include "aulos/kernels/naive/norm.hpp"
#include "aulos/kernels/naive/softmax.hpp"
#include "aulos/kernels/norm.hpp"
#include "aulos/kernels/softmax.hpp"
#include "aulos/models/image_text_block.hpp"
#include "aulos/nn/initialise.hpp"
#include "aulos/nn/module.hpp"
#include "tests/simd/accuracy.hpp"

namespace {

using aulos::Index;
namespace kernels = aulos::kernels;

template <class T>
using Values = std::vector<T>;

// Normally distributed numbers, the same everywhere (sums of twelve uniform ones).
Values<float> normal(Index count, std::uint32_t seed) {
  Values<float> x(static_cast<std::size_t>(count));
  for (float& v : x) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) {
      seed = seed * 1664525U + 1013904223U;
      sum += static_cast<double>(seed >> 8U) * 0x1p-24;
    }
    v = static_cast<float>(sum);
  }
  return x;
}

Values<double> widened(const Values<float>& x) { return {x.begin(), x.end()}; }

double relative_rms(const Values<float>& got, const Values<double>& want) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = static_cast<double>(got[i]) - want[i];
    error += difference * difference;
    size += want[i] * want[i];
  }
  return std::sqrt(error / size);
}

void print_row(const char* kernel, const std::string& shape, double error) {
  std::array<char, 32> text{};
  std::to_chars(text.data(), text.data() + text.size(), error, std::chars_format::scientific, 1);
  std::printf("| %s | %s | %s |\n", kernel, shape.c_str(), text.data());
}

std::string in_mode(const char* kernel, aulos::Numeric mode) {
  return mode == aulos::Numeric::exact ? kernel : std::string(kernel) + ", " + name_of(mode);
}

// The weight stored in the mode, the activations rounded in it.
void product(Index m, Index n, Index k, aulos::Numeric mode) {
  const Values<float> x = normal(m * k, 1), w = normal(n * k, 2);
  Values<float> y(static_cast<std::size_t>(m * n));
  const kernels::GemmShape shape{m, n, k};
  const std::size_t bytes = kernels::packed_bytes<float>(n, k, mode);
  const std::unique_ptr<std::byte, decltype(&std::free)> panels(
      static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)), &std::free);
  kernels::pack_weight<float>(aulos::Threads::serial(), w.data(), k, n, k, mode, panels.get());
  const kernels::WeightView<float> weight{.panels = panels.get(), .type = mode};
  aulos::ThreadTeam team(1);
  kernels::gemm<float>(team.threads(kernels::gemm_scratch<float>(shape, weight, mode)), x.data(), k, weight,
                       kernels::NoEpilogue{}, y.data(), n, shape, mode);
  Values<double> want(y.size());
  kernels::naive::gemm<double>(
      widened(x).data(), k, widened(w).data(), k, [](double sum, Index, Index) { return sum; }, want.data(), n, m, n,
      k);
  print_row(in_mode("gemm", mode).c_str(),
            std::to_string(m) + " x " + std::to_string(n) + ", sums of " + std::to_string(k), relative_rms(y, want));
}

template <class T>
kernels::AttentionSide<T> side(Index tokens, Index heads, Index width, const Values<T>& q, const Values<T>& k,
                               const Values<T>& v, Values<T>& out) {
  const auto view = [&](const Values<T>& x) { return kernels::tokens_major<const T>(x.data(), tokens, heads, width); };
  return {tokens, tokens, view(q), view(k), view(v), kernels::tokens_major<T>(out.data(), tokens, heads, width), {}};
}

void attention(Index tokens, aulos::Numeric mode) {
  constexpr Index heads = 2, width = 64;
  const Index count = tokens * heads * width;
  const Values<float> q = normal(count, 3), k = normal(count, 4), v = normal(count, 5);
  const Values<double> wide_q = widened(q), wide_k = widened(k), wide_v = widened(v);
  Values<float> y(q.size());
  Values<double> want(q.size());
  const kernels::AttentionShape shape{1, heads, heads, width, width, 0.125};
  const std::array sides{side<float>(tokens, heads, width, q, k, v, y)};
  const std::array wide{side<double>(tokens, heads, width, wide_q, wide_k, wide_v, want)};
  aulos::ThreadTeam team(1);
  kernels::attention<float>(team.threads(kernels::attention_scratch<float>(shape, tokens, tokens, mode)), shape, sides,
                            {}, {}, mode);
  kernels::naive::attention<double>(shape, wide);
  print_row(in_mode("scaled dot-product attention", mode).c_str(), std::to_string(tokens) + " tokens, head width 64",
            relative_rms(y, want));
}

void rows(Index columns) {
  constexpr Index count = 64;
  const Values<float> x = normal(count * columns, 6), affine = normal(2 * columns, 7);
  const Values<double> wide = widened(x), wide_affine = widened(affine);
  Values<float> y(x.size());
  Values<double> want(x.size());
  const kernels::Rows<const float> in{x.data(), columns};
  const kernels::Rows<const double> wide_in{wide.data(), columns};
  const kernels::Rows<float> out{y.data(), columns};
  const kernels::Rows<double> wide_out{want.data(), columns};
  const std::string shape = "rows of " + std::to_string(columns);
  const aulos::Threads serial = aulos::Threads::serial();
  const kernels::NormShape norm{count, columns, 1e-6};
  kernels::layer_norm<float>(serial, norm, {in, affine.data(), affine.data() + columns}, out);
  kernels::naive::norm<double>(kernels::naive::Norm::layer, norm,
                               {wide_in, wide_affine.data(), wide_affine.data() + columns}, wide_out);
  print_row("layer norm", shape, relative_rms(y, want));
  kernels::rms_norm<float>(serial, norm, {in, affine.data()}, out);
  kernels::naive::norm<double>(kernels::naive::Norm::rms, norm, {wide_in, wide_affine.data()}, wide_out);
  print_row("RMS norm", shape, relative_rms(y, want));
  kernels::softmax<float>(serial, count, columns, in, out);
  kernels::naive::softmax<double>(count, columns, wide_in, wide_out);
  print_row("softmax", shape, relative_rms(y, want));
}

// SD3's block of a width as large models have it, with random parameters, in every mode.
void blocks() {
  constexpr Index channels = 1536, image = 256, text = 77;
  const Values<float> x = normal(image * channels, 8), y = normal(text * channels, 9), c = normal(channels, 10);
  const auto run = [&]<class T>(aulos::Numeric mode, std::type_identity<T>) {
    using Block = aulos::models::ImageTextBlock<T>;
    Block block(channels, aulos::attention::SeparateQkv<T>(channels, channels, {channels / 64, 64}),
                aulos::models::TextStream::updated);
    aulos::Context context({.threads = 1, .numeric = mode});
    aulos::Random random(1);
    aulos::nn::initialise_uniform(block, random);
    aulos::nn::pack(block, mode);
    const auto tensor = [&]<int rank>(const Values<float>& values, const aulos::Shape<rank>& shape) {
      auto filled = context.empty<T, rank>(shape);
      std::copy(values.begin(), values.end(), filled.mutable_data());
      return filled;
    };
    const auto out =
        block({tensor(x, aulos::Shape<3>{1, image, channels}), tensor(y, aulos::Shape<3>{1, text, channels})},
              tensor(c, aulos::Shape<2>{1, channels}));
    Values<T> both;
    for (const auto& stream : out) both.insert(both.end(), stream.data(), stream.data() + stream.count());
    return both;
  };
  const Values<double> want = run(aulos::Numeric::exact, std::type_identity<double>{});
  for (const aulos::Numeric mode : {aulos::Numeric::exact, aulos::Numeric::bf16, aulos::Numeric::int8}) {
    print_row(in_mode("SD3 block", mode).c_str(), "1536 wide, 256 + 77 tokens",
              relative_rms(run(mode, std::type_identity<float>{}), want));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* problem = aulos::unsupported_processor()) {
    std::fprintf(stderr, "%s\n", problem);
    return 77;  // skipped
  }
  Index points = 10000000;
  if (argc > 1) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), points);
  std::printf("\n## %s\n\n", aulos_test::isa_name().c_str());
  std::printf("| function | type | points | largest error | promised | unit |\n|---|---|---:|---:|---:|---|\n");
  for (const auto& row : aulos_test::measure_all(points)) {
    std::array<char, 32> error{};
    std::to_chars(error.data(), error.data() + error.size(), row.error, std::chars_format::fixed, 2);
    std::printf("| %s | %s | %lld | %s | %d | %s |\n", row.function.c_str(), row.type.c_str(),
                static_cast<long long>(row.points), error.data(), static_cast<int>(row.limit), row.unit.c_str());
  }
  std::printf("\n| kernel, float | extents | RMS error |\n|---|---|---:|\n");
  for (const aulos::Numeric mode : {aulos::Numeric::exact, aulos::Numeric::bf16, aulos::Numeric::int8}) {
    for (const Index k : {64, 1024, 8192}) product(64, 256, k, mode);
  }
  for (const aulos::Numeric mode : {aulos::Numeric::exact, aulos::Numeric::bf16}) {
    for (const Index tokens : {64, 1024}) attention(tokens, mode);
  }
  for (const Index columns : {64, 1024, 4096}) rows(columns);
  blocks();
}
