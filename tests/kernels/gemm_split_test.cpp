#include "aulos/kernels/gemm_split.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

using aulos::Index;
using aulos::kernels::GemmShape;
namespace detail = aulos::kernels::detail;

TEST(GemmSplit, PiecesCoverEveryStripAndPanelOnce) {
  for (const Index m : {1, 12, 13, 100, 5000}) {
    for (const Index n : {1, 31, 32, 33, 1000}) {
      for (const Index k : {1, 200, 5000}) {
        for (const Index threads : {1, 2, 3, 8}) {
          for (const bool fresh : {false, true}) {
            const GemmShape s{m, n, k};
            const detail::GemmSplit split = detail::split_gemm<float>(s, threads, fresh);
            const Index panels = detail::panel_count<float>(n);
            std::vector<int> seen(static_cast<std::size_t>(m * panels));
            for (Index i = 0; i < split.count(); ++i) {
              const detail::GemmPiece piece = detail::piece_of<float>(s, split, i);
              ASSERT_LT(piece.rows.begin, piece.rows.end);
              ASSERT_LT(piece.panels.begin, piece.panels.end);
              ASSERT_EQ(piece.rows.begin % detail::gemm_rows, 0);
              for (Index row = piece.rows.begin; row < piece.rows.end; ++row) {
                for (Index p = piece.panels.begin; p < piece.panels.end; ++p) {
                  ++seen[static_cast<std::size_t>(row * panels + p)];
                }
              }
            }
            for (const int count : seen) ASSERT_EQ(count, 1);
          }
        }
      }
    }
  }
}

TEST(GemmSplit, SmallWorkAndOneThreadRunInOnePiece) {
  EXPECT_EQ(detail::split_gemm<float>({64, 64, 64}, 8, false).count(), 1);
  EXPECT_EQ(detail::split_gemm<float>({4096, 4096, 4096}, 1, true).count(), 1);
  EXPECT_GE(detail::split_gemm<float>({1, 1536, 1536}, 2, false).count(), 2);
  EXPECT_GE(detail::split_gemm<float>({1024, 1536, 1536}, 2, true).count(), 2);
}

}  // namespace
