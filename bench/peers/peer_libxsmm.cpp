// libxsmm's generated kernels, 64 x 64 of y over 256 k at a time, on a weight that is packed beforehand to
// [n / 64][k][64]. It has no threads of its own.
#include <libxsmm.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bench/peers/plugin.hpp"

namespace peers {
namespace {

constexpr std::int64_t block_m = 64, block_n = 64, block_k = 256;

// The kernel of one size of block. Columns of a column-major matrix are the rows of ours.
libxsmm_smmfunction kernel(std::int64_t m, std::int64_t k, bool add, std::int64_t ldx, std::int64_t ldy) {
  const libxsmm_blasint lda = block_n, ldb = static_cast<libxsmm_blasint>(ldx), ldc = static_cast<libxsmm_blasint>(ldy);
  const float alpha = 1, beta = add ? 1 : 0;
  return libxsmm_smmdispatch(block_n, static_cast<libxsmm_blasint>(m), static_cast<libxsmm_blasint>(k), &lda, &ldb,
                             &ldc, &alpha, &beta, nullptr, nullptr);
}

std::unique_ptr<Job> prepare(const Work& work) {
  if (work.kind != Kind::gemm || work.dtype != Dtype::f32 || work.threads != 1) return nullptr;
  const std::int64_t m = work.extents[0], k = work.extents[1], n = work.extents[2];
  if (n % block_n != 0) return nullptr;
  Floats packed(n * k);
  const float* weight = work["weight"].data;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t p = 0; p < k; ++p) {
      packed.data()[(i / block_n * k + p) * block_n + i % block_n] = weight[i * k + p];
    }
  }
  struct Kernels {
    libxsmm_smmfunction of[2][2];  // whole or last block of rows, of k
  } kernels{};
  for (const bool last_m : {false, true}) {
    for (const bool last_k : {false, true}) {
      const std::int64_t rows = last_m ? m % block_m : block_m, depth = last_k ? k % block_k : block_k;
      if (rows > 0 && depth > 0) kernels.of[last_m][last_k] = kernel(rows, depth, true, k, n);
    }
  }
  return job_writing(work.results,
                     [=, x = work["x"].data, bias = work["bias"].data, packed = std::move(packed)](float* y) {
                       for (std::int64_t row = 0; row < m; row += block_m) {
                         const std::int64_t rows = std::min(block_m, m - row);
                         for (std::int64_t column = 0; column < n; column += block_n) {
                           // The bias first: then every block adds.
                           for (std::int64_t r = row; r < row + rows; ++r)
                             std::copy_n(bias + column, block_n, y + r * n + column);
                           for (std::int64_t p = 0; p < k; p += block_k) {
                             kernels.of[rows < block_m][k - p < block_k](packed.data() + column * k + p * block_n,
                                                                         x + row * k + p, y + row * n + column);
                           }
                         }
                       }
                     });
}

}  // namespace
}  // namespace peers

PEERS_EXPORT void register_peers(std::vector<peers::Peer>& list) {
  libxsmm_init();
  list.push_back(
      {"libxsmm", std::to_string(LIBXSMM_VERSION_MAJOR) + "." + std::to_string(LIBXSMM_VERSION_MINOR), peers::prepare});
}
