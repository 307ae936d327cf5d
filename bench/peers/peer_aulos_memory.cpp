// The limits of kernels: moving the bytes that they have to move, or the exponentials that they take, and nothing else.
#include <algorithm>
#include <cstring>

#include "aulos/core/threads.hpp"
#include "aulos/simd/batch.hpp"
#include "aulos/simd/exp.hpp"
#include "aulos/simd/reduce.hpp"
#include "bench/peers/peer_aulos.hpp"

namespace peers {
namespace {

using aulos::Index;

constexpr Index piece_floats = 1 << 18;

template <class F>
void for_pieces(aulos::ThreadTeam& team, Index count, const F& f) {
  team.threads().run((count + piece_floats - 1) / piece_floats, [&](Index piece, aulos::Scratch&) {
    const Index begin = piece * piece_floats;
    f(piece, begin, std::min(piece_floats, count - begin));
  });
}

// The sum keeps the compiler from leaving the reads out; `count` is a multiple of eight batches.
float read_all(const float* x, Index count) {
  using Batch = aulos::simd::Batch<float>;
  constexpr Index lanes = aulos::simd::lanes<float>;
  Batch sum[8];
  AULOS_UNROLL
  for (int i = 0; i < 8; ++i) sum[i] = Batch(0.0f);
  for (Index at = 0; at + 8 * lanes <= count; at += 8 * lanes) {
    AULOS_UNROLL
    for (int i = 0; i < 8; ++i) sum[i] = sum[i] + aulos::simd::load(x + at + i * lanes);
  }
  AULOS_UNROLL
  for (int i = 1; i < 8; ++i) sum[0] = sum[0] + sum[i];
  return aulos::simd::reduce_add(sum[0]);
}

}  // namespace

std::unique_ptr<Job> prepare_copy(const Work& work) {
  if (work.copied <= 0) return nullptr;
  return job_writing(work.results, [count = work.results, x = work["x"].data,
                                    team = std::make_unique<aulos::ThreadTeam>(work.threads)](float* y) {
    for_pieces(*team, count, [&](Index, Index begin, Index length) {
      std::memcpy(y + begin, x + begin, static_cast<std::size_t>(length) * sizeof(float));
    });
  });
}

std::unique_ptr<Job> prepare_read(const Work& work) {
  if (work.read <= 0) return nullptr;
  const auto count = static_cast<Index>(work.read / sizeof(float));
  const Index pieces = (count + piece_floats - 1) / piece_floats;
  return job_writing(std::max<Index>(pieces, work.results),
                     [count, x = Floats(count), team = std::make_unique<aulos::ThreadTeam>(work.threads)](float* y) {
                       for_pieces(*team, count, [&](Index piece, Index begin, Index length) {
                         y[piece] = read_all(x.data() + begin, length);
                       });
                     });
}

std::unique_ptr<Job> prepare_exp(const Work& work) {
  if (work.kind != Kind::scan) return nullptr;
  constexpr Index length = 4096, lanes = aulos::simd::lanes<float>;  // numbers that stay in the first-level cache
  const Index rounds = static_cast<Index>(work.extents[0] * work.extents[1] * work.extents[2]) / length;
  Floats x(length);
  for (Index i = 0; i < length; ++i) x.data()[i] = -static_cast<float>(i) / 512;
  return job_writing(std::max<Index>(work.results, length * work.threads),
                     [rounds, threads = work.threads, x = std::move(x),
                      team = std::make_unique<aulos::ThreadTeam>(work.threads)](float* y) {
                       team->threads().run(threads, [&](Index piece, aulos::Scratch&) {
                         float* const to = y + piece * length;
                         for (Index round = piece; round < rounds; round += threads) {
                           for (Index i = 0; i < length; i += lanes) {
                             aulos::simd::store(to + i, aulos::simd::exp(aulos::simd::load(x.data() + i)));
                           }
                         }
                       });
                     });
}

}  // namespace peers
