// Products by tiles, or by what stands for them.
#include "aulos/kernels/gemm_amx.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "aulos/kernels/gemm.hpp"
#include "aulos/kernels/gemm_product.hpp"
#include "tests/kernels/gemm_support.hpp"

namespace {

namespace kernels = aulos::kernels;
namespace detail = aulos::kernels::detail;
using aulos::Index;
using aulos::Numeric;

TEST(GemmAmx, TilesAreUsedWhereTheBuildHasThem) {
  EXPECT_EQ(detail::Bf16Product::rows == 32, aulos::simd::has_tiles);
  EXPECT_EQ(detail::Int8Product::rows == 32, aulos::simd::has_tiles);
}

#if defined(__AVX512F__)
// Whole numbers, whose sums are exact in any order; infinity behind the panel and the strip's rows.
TEST(GemmAmx, StripsOfAnySize) {
  aulos::request_tiles();
  const aulos::simd::TileScope scope;
  const auto pair = [](float low, float high) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(low) >> 16 |
                                (std::bit_cast<std::uint32_t>(high) & 0xffff0000u));
  };
  const auto a = [](Index i, Index p) { return static_cast<float>((i * 3 + p) % 7 - 3); };
  const auto b = [](Index p, Index j) { return static_cast<float>((p * 5 + j) % 9 - 4); };
  for (const Index depth : {1, 15, 16, 17, 31, 32, 50}) {
    for (const Index valid : {1, 2, 15, 16, 17, 31, 32}) {
      std::vector<float> strip(static_cast<std::size_t>(32 * detail::amx_depth(depth)));
      std::vector<float> panel(static_cast<std::size_t>((depth + 16) * 32), pair(INFINITY, INFINITY));
      for (Index p = 0; p < depth; ++p) {
        for (Index i = 0; i < valid; ++i) {
          strip[static_cast<std::size_t>(detail::amx_place(i, p) + p % 16)] = pair(a(i, 2 * p), a(i, 2 * p + 1));
        }
        for (Index j = 0; j < 32; ++j) panel[static_cast<std::size_t>(p * 32 + j)] = pair(b(2 * p, j), b(2 * p + 1, j));
      }
      std::vector<float> bias(32);
      for (Index j = 0; j < 32; ++j) bias[static_cast<std::size_t>(j)] = static_cast<float>(j) + 0.5f;
      for (const bool add : {false, true}) {
        gemm_support::Guarded<float> y(valid > 16 ? 32 : 16, 32, 35, 1, 100.0f);
        detail::multiply_amx_strip<Numeric::bf16>(valid, depth, strip.data(), panel.data(),
                                                  {y.data(), y.ld(), add ? nullptr : bias.data(), add});
        for (Index i = 0; i < valid; ++i) {
          for (Index j = 0; j < 32; ++j) {
            float expected = add ? 100.0f : bias[static_cast<std::size_t>(j)];
            for (Index p = 0; p < 2 * depth; ++p) expected += a(i, p) * b(p, j);
            ASSERT_EQ(y.at(i, j), expected) << depth << ' ' << valid << ' ' << i << ' ' << j;
          }
        }
        EXPECT_TRUE(y.intact());
      }
    }
  }
}

struct Floats : gemm_support::Bytes {
  explicit Floats(Index count) : Bytes(static_cast<std::size_t>(count) * sizeof(float)) {}
  float* data() { return static_cast<float*>(Bytes::data()); }
};

// Whole products, the strips in two pieces of rows and two of panels, on the calling thread.
template <Numeric mode>
struct TileProduct {
  using Product = detail::AmxProduct<mode>;

  kernels::GemmShape s;
  std::vector<float> x, w;
  Floats panels;
  kernels::WeightView<float> view;

  explicit TileProduct(kernels::GemmShape shape)
      : s(shape),
        x(gemm_support::random<float>(s.m * s.k + 1, 1)),
        w(gemm_support::random<float>(s.n * s.k + 1, 2)),
        panels(static_cast<Index>(kernels::packed_bytes<float>(s.n, s.k, mode) / sizeof(float)) + 1) {
    kernels::pack_weight<float>(aulos::Threads::serial(), w.data(), s.k, s.n, s.k, mode, panels.data());
    view = {.panels = panels.data(), .type = mode};
  }

  // Rows [first, first + rows) through `to`.
  void run(Index first, Index rows, const detail::Destination<float>& to) const {
    const kernels::GemmShape part{rows, s.n, s.k};
    const Product product(view, part);
    Product::prepare();
    const std::size_t bytes = detail::GemmScratch<Product>(product, part).bytes();
    Floats memory(static_cast<Index>(bytes / sizeof(float)) + 64);
    aulos::Scratch scratch(reinterpret_cast<std::byte*>(memory.data()), bytes);
    const detail::GemmSplit split{detail::strip_count(rows, 32) > 1 ? 2 : 1, s.n > 128 ? 2 : 1};
    Index piece = 0;
    detail::gemm_many(product, x.data() + first * s.k, s.k, to, part, scratch, [&] {
      const Index i = piece++;
      return i < split.count() ? detail::piece_of<float>(part, split, i, 32, 4) : detail::GemmPiece{};
    });
  }

  // y [rows, n] with an epilogue.
  template <class Epilogue>
  void run(Index first, Index rows, const Epilogue& epilogue, float* y, Index ldy) const {
    const auto store = [&](const float* tile, Index stride, Index row, Index count, Index column, Index columns) {
      detail::apply_epilogue(epilogue, tile, stride, row, count, column, columns, y, ldy);
    };
    detail::Destination<float> to{store, y, ldy};
    if constexpr (requires { detail::plain_store<float>(epilogue); }) {
      to = {store, y, ldy, true, detail::plain_store<float>(epilogue)};
    }
    run(first, rows, to);
  }
};

void halve(const float* x, float* y, Index n) {
  for (Index i = 0; i < n; ++i) y[i] = x[i] / 2;
}

constexpr kernels::GemmShape amx_shapes[] = {{1, 32, 5},     {5, 64, 40},    {16, 33, 64},
                                             {40, 96, 130},  {70, 161, 0},   {70, 161, 96},
                                             {33, 70, 1600}, {40, 32, 6200}, {30, 100, 1100}};

// Sums of 8-bit products are exact, so that the same numbers come out as without tiles.
TEST(GemmAmx, Int8IsTheSameAsWithoutTiles) {
  for (const kernels::GemmShape s : amx_shapes) {
    const TileProduct<Numeric::int8> product(s);
    const auto bias = gemm_support::random<float>(s.n, 3);
    const kernels::BiasActivation<float> epilogue{bias.data(), halve};
    gemm_support::Guarded<float> y(s.m, s.n, s.n + 3), expected(s.m, s.n, s.n + 3);
    product.run(0, s.m, epilogue, y.data(), y.ld());
    aulos::ThreadTeam team(1);
    kernels::gemm(team.threads(kernels::gemm_scratch(s, product.view, Numeric::int8)), product.x.data(), s.k,
                  product.view, epilogue, expected.data(), expected.ld(), s, Numeric::int8);
    for (Index i = 0; i < s.m; ++i) {
      for (Index j = 0; j < s.n; ++j) {
        ASSERT_EQ(y.at(i, j), expected.at(i, j)) << s.m << ' ' << s.n << ' ' << s.k << ' ' << i << ' ' << j;
      }
    }
    EXPECT_TRUE(y.intact());
  }
}

TEST(GemmAmx, Bf16MultipliesRoundedNumbers) {
  const auto round = [](float v) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(v);
    return double{std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u)};
  };
  for (const kernels::GemmShape s : amx_shapes) {
    const TileProduct<Numeric::bf16> product(s);
    const auto bias = gemm_support::random<float>(s.n, 3), gate = gemm_support::random<float>(s.m * s.n, 4);
    gemm_support::Guarded<float> y(s.m, s.n, s.n + 3), gated(s.m, s.n, s.n + 3, 1, 0.25f);
    product.run(0, s.m, kernels::BiasActivation<float>{bias.data(), halve}, y.data(), y.ld());
    product.run(0, s.m,
                kernels::GatedResidual<float>{
                    .bias = bias.data(), .residual = gated.data(), .ldr = gated.ld(), .gate = gate.data(), .ldg = s.n},
                gated.data(), gated.ld());
    for (Index i = 0; i < s.m; ++i) {
      for (Index j = 0; j < s.n; ++j) {
        double sum = double{bias[static_cast<std::size_t>(j)]};
        for (Index p = 0; p < s.k; ++p) {
          sum += round(product.x[static_cast<std::size_t>(i * s.k + p)]) *
                 round(product.w[static_cast<std::size_t>(j * s.k + p)]);
        }
        ASSERT_NEAR(double{y.at(i, j)}, sum / 2, 4e-5) << s.m << ' ' << s.n << ' ' << s.k << ' ' << i << ' ' << j;
        ASSERT_NEAR(double{gated.at(i, j)}, 0.25 + sum * double{gate[static_cast<std::size_t>(i * s.n + j)]}, 4e-5);
      }
    }
    EXPECT_TRUE(y.intact());
    EXPECT_TRUE(gated.intact());
  }
}

// A row alone and the last rows of a strip have the bits of whole strips.
template <Numeric mode>
void check_rows() {
  for (const kernels::GemmShape s : amx_shapes) {
    const TileProduct<mode> product(s);
    const auto bias = gemm_support::random<float>(s.n, 3);
    const Index ld = s.n + 3;
    Floats all(s.m * ld), alone(ld);
    for (const bool activates : {false, true}) {
      const kernels::BiasActivation<float> epilogue{bias.data(), activates ? halve : nullptr};
      product.run(0, s.m, epilogue, all.data(), ld);
      for (Index i = 0; i < s.m; i += i < 30 ? 7 : 1) {
        product.run(i, 1, epilogue, alone.data(), ld);
        for (Index j = 0; j < s.n; ++j) {
          ASSERT_EQ(all.data()[i * ld + j], alone.data()[j]) << s.m << ' ' << s.n << ' ' << s.k << ' ' << i << ' ' << j;
        }
      }
    }
  }
}
TEST(GemmAmx, Bf16RowsDependOnNothingElse) { check_rows<Numeric::bf16>(); }
TEST(GemmAmx, Int8RowsDependOnNothingElse) { check_rows<Numeric::int8>(); }
#endif

}  // namespace
