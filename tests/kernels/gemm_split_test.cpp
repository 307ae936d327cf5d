#include "aulos/kernels/gemm_split.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "aulos/core/threads.hpp"

namespace {

using aulos::Index;
using aulos::kernels::GemmShape;
namespace detail = aulos::kernels::detail;

// Each (row, panel) is in one piece of `split`.
void expect_cover(GemmShape s, detail::GemmSplit split, Index height, Index side) {
  const Index panels = detail::panel_count<float>(s.n);
  std::vector<int> seen(static_cast<std::size_t>(s.m * panels));
  for (Index i = 0; i < split.count(); ++i) {
    const detail::GemmPiece piece = detail::piece_of<float>(s, split, i, height, side);
    ASSERT_LT(piece.rows.begin, piece.rows.end);
    ASSERT_LT(piece.panels.begin, piece.panels.end);
    ASSERT_EQ(piece.rows.begin % height, 0);
    ASSERT_EQ(piece.panels.begin % side, 0);
    for (Index row = piece.rows.begin; row < piece.rows.end; ++row) {
      for (Index p = piece.panels.begin; p < piece.panels.end; ++p) ++seen[static_cast<std::size_t>(row * panels + p)];
    }
  }
  for (const int count : seen) ASSERT_EQ(count, 1);
}

TEST(GemmSplit, PiecesCoverEveryStripAndPanelOnce) {
  for (const Index m : {1, 12, 13, 100, 5000}) {
    for (const Index n : {1, 31, 32, 33, 1000}) {
      for (const Index threads : {1, 2, 3, 8}) {
        for (const Index side : {1, 4}) {
          const Index groups = (detail::panel_count<float>(n) + side - 1) / side;
          for (const Index block : {8, 50}) {
            for (const Index wanted : {Index{1}, 16 * threads}) {
              const GemmShape s{m, n, 1};
              const auto split = detail::split_kept(detail::strip_count(m, 32), groups, block, threads, wanted);
              expect_cover(s, split, 32, side);
              EXPECT_GE(split.rows * block, detail::strip_count(m, 32));
            }
          }
        }
      }
    }
  }
}

TEST(GemmSplit, WorkersHaveRowsOfTheirOwnWhereThereAreEnough) {
  EXPECT_EQ(detail::split_kept(5, 48, 8, 2, 32).rows, 1);
  EXPECT_EQ(detail::split_kept(5, 48, 8, 2, 32).cols, 32);
  EXPECT_EQ(detail::split_kept(22, 32, 53, 2, 32).rows, 2);
  EXPECT_EQ(detail::split_kept(86, 48, 8, 2, 32).rows, 12);
  EXPECT_EQ(detail::split_kept(86, 48, 8, 16, 256).rows, 16);
  EXPECT_EQ(detail::split_kept(86, 48, 86, 1, 1).count(), 1);
}

TEST(GemmSplit, SharedPiecesAreTakenOnceAndOnesOwnFirst) {
  for (const Index workers : {1, 2, 3, 70}) {
    for (const Index count : {0, 1, 2, 7, 100}) {
      detail::SharedPieces pieces(count, workers);
      std::vector<int> seen(static_cast<std::size_t>(count));
      if (workers == 2 && count == 100) {
        EXPECT_EQ(pieces.take(1), 50);
        EXPECT_EQ(pieces.take(0), 0);
        ++seen[0], ++seen[50];
      }
      for (Index i; (i = pieces.take(workers - 1)) >= 0;) ++seen[static_cast<std::size_t>(i)];
      for (const int times : seen) EXPECT_EQ(times, 1);
      EXPECT_EQ(pieces.take(0), -1);
    }
  }
}

TEST(GemmSplit, SharedPiecesAreTakenOnceByThreads) {
  aulos::ThreadTeam team(3);
  detail::SharedPieces pieces(5000, 3);
  std::vector<std::atomic<int>> seen(5000);
  team.threads().run(3, [&](Index worker, aulos::Scratch&) {
    for (Index i; (i = pieces.take(worker)) >= 0;) seen[static_cast<std::size_t>(i)].fetch_add(1);
  });
  for (const auto& times : seen) ASSERT_EQ(times.load(), 1);
}

TEST(GemmSplit, SmallWorkAndOneThreadRunInOnePiece) {
  EXPECT_EQ(detail::pieces_for(detail::gemm_flops({64, 64, 64}), 8, 4), 1);
  EXPECT_EQ(detail::pieces_for(1e12, 1, 4), 1);
  EXPECT_EQ(detail::pieces_for(detail::gemm_flops({1024, 1536, 1536}), 2, 4), 8);
}

}  // namespace
