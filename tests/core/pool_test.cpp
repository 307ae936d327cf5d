#include "aulos/core/pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "aulos/core/random.hpp"
#include "tests/support/child.hpp"
#include "tests/support/sanitized.hpp"

namespace {

using aulos::Buffer;
using aulos::BufferReference;
using aulos::Index;
using aulos::MemoryUse;
using aulos::Pool;
using aulos::Random;

// A pool as a Context has it.
struct Orphan {
  void operator()(Pool* pool) const noexcept { pool->orphan(); }
};
using OwnedPool = std::unique_ptr<Pool, Orphan>;

OwnedPool make_pool(Pool::Kind kind = Pool::Kind::real) {
  alignas(64) static std::byte somebody[64];  // never looked into
  return OwnedPool(new Pool(reinterpret_cast<aulos::Context*>(somebody), kind));
}

std::uintptr_t address(const Buffer* buffer) { return reinterpret_cast<std::uintptr_t>(buffer->data); }

void fill(const Buffer* buffer, unsigned char value) { std::memset(buffer->data, value, buffer->bytes); }

bool holds(const Buffer* buffer, unsigned char value) {
  const auto* data = reinterpret_cast<const unsigned char*>(buffer->data);
  return std::all_of(data, data + buffer->bytes, [value](unsigned char c) { return c == value; });
}

TEST(Pool, GivesAlignedMemoryInMultiplesOfALine) {
  const OwnedPool pool = make_pool();
  std::vector<Buffer*> buffers;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{65},
                                  std::size_t{1000}, std::size_t{100000}, std::size_t{9000001}}) {
    Buffer* buffer = pool->take(bytes);
    EXPECT_EQ(address(buffer) % aulos::buffer_alignment, 0u);
    EXPECT_EQ(buffer->bytes, std::max<std::size_t>(64, (bytes + 63) / 64 * 64));
    EXPECT_EQ(buffer->references, 1);
    EXPECT_EQ(buffer->pool, pool.get());
    EXPECT_TRUE(buffer->ready);
    fill(buffer, 1);
    buffers.push_back(buffer);
  }
  for (Buffer* buffer : buffers) pool->give(buffer);
  EXPECT_EQ(pool->use().live, 0u);
}

TEST(Pool, FreshMemoryIsNaNInTestBuilds) {
  const OwnedPool pool = make_pool();
  for (int round = 0; round < 2; ++round) {  // the second time it is used memory
    Buffer* buffer = pool->take(4096);
    EXPECT_TRUE(holds(buffer, 0xff));
    fill(buffer, 0);
    pool->give(buffer);
  }
}

TEST(Pool, CountsLivePeakAndHeld) {
  const OwnedPool pool = make_pool();
  EXPECT_EQ(pool->use(), (MemoryUse{0, 0, 0}));
  Buffer* a = pool->take(1000);
  EXPECT_EQ(pool->use().live, 1024u);
  Buffer* b = pool->take(64);
  EXPECT_EQ(pool->use().peak, 1088u);
  pool->give(a);
  EXPECT_EQ(pool->use().live, 64u);
  EXPECT_EQ(pool->use().peak, 1088u);
  pool->reset_peak();
  EXPECT_EQ(pool->use().peak, 64u);
  EXPECT_GE(pool->use().held, 1088u);
  pool->give(b);
  EXPECT_EQ(pool->use().live, 0u);
}

TEST(Pool, MergesNeighboursInAnyOrder) {
  std::array<int, 4> order{0, 1, 2, 3};
  do {
    const OwnedPool pool = make_pool();
    constexpr std::size_t piece = 64 * 1024;
    pool->reserve(4 * piece);
    std::array<Buffer*, 4> buffers;
    for (Buffer*& buffer : buffers) buffer = pool->take(piece);
    for (const int i : order) pool->give(buffers[static_cast<std::size_t>(i)]);
    Buffer* all = pool->take(4 * piece);  // fits only if all have become one again
    EXPECT_EQ(pool->use().held, 4 * piece);
    pool->give(all);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Pool, ReservedMemoryComesInOnePiece) {
  const OwnedPool pool = make_pool();
  pool->give(pool->take(1000));
  pool->reserve(1 << 20);
  EXPECT_EQ(pool->use().held, std::size_t{1} << 20);  // what was held before went back: nothing lived in it
  pool->reserve(1000);
  EXPECT_EQ(pool->use().held, std::size_t{1} << 20);
  Buffer* all = pool->take(1 << 20);
  EXPECT_EQ(pool->use().held, std::size_t{1} << 20);
  fill(all, 7);
  pool->reserve(3 << 20);  // beside what lives
  EXPECT_EQ(pool->use().held, std::size_t{3} << 20);
  EXPECT_TRUE(holds(all, 7));
  Buffer* rest = pool->take(2 << 20);
  EXPECT_EQ(pool->use().held, std::size_t{3} << 20);
  pool->give(all);
  pool->give(rest);
}

TEST(Pool, SpendsALogarithmicNumberOfRequestsOnGrowth) {
  const OwnedPool pool = make_pool();
  std::vector<Buffer*> buffers;
  std::size_t held = 0;
  int requests = 0;
  for (int i = 0; i < 20000; ++i) {
    buffers.push_back(pool->take(4096));
    if (pool->use().held != std::exchange(held, pool->use().held)) ++requests;
  }
  EXPECT_LT(requests, 50);
  EXPECT_LT(static_cast<double>(held), 1.3 * static_cast<double>(pool->use().live));
  for (Buffer* buffer : buffers) pool->give(buffer);
}

// One trace of takes and gives.
class Trace {
 public:
  Trace(std::uint64_t seed, std::size_t most_bytes) : random_(seed), most_bytes_(most_bytes) {}

  // Bytes to take, or the position among the living of what to give back.
  std::pair<std::size_t, std::size_t> next(std::size_t living) {
    const bool give = living > 0 && (living > 60 || random_.below(100) < 48);
    if (give) return {0, static_cast<std::size_t>(random_.below(static_cast<Index>(living)))};
    // Sizes over all magnitudes.
    const auto most = static_cast<Index>(most_bytes_ >> random_.below(14));
    return {static_cast<std::size_t>(1 + random_.below(std::max<Index>(most, 1))), 0};
  }

 private:
  Random random_;
  std::size_t most_bytes_;
};

TEST(Pool, KeepsToAModelOverRandomTraces) {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const OwnedPool pool = make_pool();
    Trace trace(seed, seed % 3 == 0 ? 300 : 200000);
    struct Living {
      Buffer* buffer;
      unsigned char mark;
    };
    std::vector<Living> living;
    std::map<std::uintptr_t, std::uintptr_t> ranges;
    std::size_t live = 0, peak = 0;
    for (int step = 0; step < 3000; ++step) {
      const auto [bytes, which] = trace.next(living.size());
      if (bytes > 0) {
        const auto mark = static_cast<unsigned char>(step % 251);
        Buffer* buffer = pool->take(bytes);
        ASSERT_GE(buffer->bytes, bytes);
        const std::uintptr_t begin = address(buffer), end = begin + buffer->bytes;
        const auto after = ranges.lower_bound(begin);
        ASSERT_TRUE(after == ranges.end() || end <= after->first) << "seed " << seed << " step " << step;
        ASSERT_TRUE(after == ranges.begin() || std::prev(after)->second <= begin)
            << "seed " << seed << " step " << step;
        ranges[begin] = end;
        fill(buffer, mark);
        living.push_back({buffer, mark});
        live += aulos::round_to_buffer(bytes);
        peak = std::max(peak, live);
      } else {
        const Living gone = living[which];
        living[which] = living.back();
        living.pop_back();
        ASSERT_TRUE(holds(gone.buffer, gone.mark)) << "seed " << seed << " step " << step;
        ranges.erase(address(gone.buffer));
        live -= gone.buffer->bytes;
        pool->give(gone.buffer);
      }
      ASSERT_EQ(pool->use().live, live);
      ASSERT_EQ(pool->use().peak, peak);
      ASSERT_LE(live, pool->use().held);
    }
    for (const Living& each : living) {
      EXPECT_TRUE(holds(each.buffer, each.mark));
      pool->give(each.buffer);
    }
    EXPECT_EQ(pool->use().live, 0u);
    // Everything has become whole chunks again: reserving more gives them back and takes one piece.
    const std::size_t held = pool->use().held;
    pool->reserve(held + 64);
    EXPECT_EQ(pool->use().held, held + 64);
    Buffer* all = pool->take(held + 64);
    EXPECT_EQ(pool->use().held, held + 64);
    pool->give(all);
  }
}

// The takes and gives of `seed`, after which check() is called each time.
template <class Check>
void replay(Pool& pool, std::uint64_t seed, Check&& check) {
  Trace trace(seed, 1 << 20);
  std::vector<Buffer*> living;
  for (int step = 0; step < 2000; ++step) {
    const auto [bytes, which] = trace.next(living.size());
    if (bytes > 0) {
      living.push_back(pool.take(bytes));
    } else {
      pool.give(living[which]);
      living[which] = living.back();
      living.pop_back();
    }
    check();
  }
  for (Buffer* buffer : living) pool.give(buffer);
}

TEST(Pool, ADryOnePredictsARealOneExactly) {
  for (std::uint64_t seed = 100; seed < 106; ++seed) {
    const OwnedPool real = make_pool(), dry = make_pool(Pool::Kind::dry);
    EXPECT_TRUE(dry->dry());
    EXPECT_FALSE(real->dry());
    std::vector<MemoryUse> planned;
    replay(*dry, seed, [&] { planned.push_back(dry->use()); });
    const std::size_t held = planned.back().held;
    EXPECT_LT(static_cast<double>(held), 1.35 * static_cast<double>(planned.back().peak)) << "seed " << seed;
    real->reserve(held);
    std::size_t step = 0;
    replay(*real, seed, [&] {
      const MemoryUse& use = real->use();
      const MemoryUse& plan = planned[step++];
      ASSERT_EQ(use.live, plan.live) << "seed " << seed << " step " << step;
      ASSERT_EQ(use.peak, plan.peak) << "seed " << seed << " step " << step;
      ASSERT_EQ(use.held, held) << "seed " << seed << " step " << step;
    });
    replay(*real, seed, [&] { ASSERT_EQ(real->use().held, held); });  // nor does a second round ask for more
    // A line less is not enough.
    const OwnedPool tight = make_pool();
    tight->reserve(held - 64);
    replay(*tight, seed, [] {});
    EXPECT_GT(tight->use().held, held);
    EXPECT_EQ(tight->use().peak, planned.back().peak);
  }
}

TEST(Pool, ADryOneHasAddressesForAPetabyteAndNoMemory) {
  const OwnedPool pool = make_pool(Pool::Kind::dry);
  Buffer* a = pool->take(std::size_t{1} << 50);
  Buffer* b = pool->take(std::size_t{1} << 40);
  EXPECT_EQ(pool->use().live, (std::size_t{1} << 50) + (std::size_t{1} << 40));
  EXPECT_GE(address(b), address(a) + a->bytes);
  pool->give(a);
  pool->give(b);
}

TEST(Pool, RefusesWhatTheSystemCannotBackAndStaysAsItWas) {
  const OwnedPool pool = make_pool();
  Buffer* buffer = pool->take(5000);
  fill(buffer, 9);
  const MemoryUse before = pool->use();
  for (const std::size_t bytes :
       {std::size_t{1} << 40, std::size_t{1} << 47, (std::size_t{1} << 53) + 1, std::size_t{1} << 58,
        std::size_t{1} << 61, std::size_t{1} << 62, std::size_t{1} << 63, SIZE_MAX - 63, SIZE_MAX}) {
    EXPECT_THROW(pool->take(bytes), std::bad_alloc) << bytes;
    EXPECT_EQ(pool->use(), before);
  }
  EXPECT_THROW(pool->reserve(std::size_t{1} << 40), std::bad_alloc);
  EXPECT_EQ(pool->use(), before);
  Buffer* more = pool->take(100000);
  fill(more, 8);
  EXPECT_TRUE(holds(buffer, 9));
  pool->give(more);
  pool->give(buffer);
  EXPECT_THROW(pool->reserve(std::size_t{1} << 40), std::bad_alloc);  // nothing lives: it gave all back first
  pool->give(pool->take(5000));
}

TEST(Pool, RefusesWhatALimitOfTheProcessForbids) {
#if AULOS_TEST_SANITIZED
  GTEST_SKIP() << "a sanitizer needs the address space";
#endif
  const int status = aulos_tests::in_child([] {
    const OwnedPool pool = make_pool();
    Buffer* first = pool->take(1 << 20);
    fill(first, 3);
    if (!aulos_tests::limit_memory(std::size_t{64} << 20)) return 77;
    try {
      pool->take(std::size_t{256} << 20);
      return 1;
    } catch (const std::bad_alloc&) {
    }
    std::vector<Buffer*> many;
    many.reserve(1000);
    try {
      for (int i = 0; i < 1000; ++i) many.push_back(pool->take(1 << 20));
      return 2;
    } catch (const std::bad_alloc&) {
    }
    if (many.size() < 10 || pool->use().live != (many.size() + 1) << 20) return 3;
    for (Buffer* buffer : many) pool->give(buffer);
    if (!holds(first, 3)) return 4;
    Buffer* again = pool->take(8 << 20);  // merged from what was given back
    fill(again, 4);
    pool->give(again);
    pool->give(first);
    return 0;
  });
  if (status == 77) GTEST_SKIP() << "no limits on this system";
  EXPECT_EQ(status, 0);
}

TEST(Pool, GoesWithItsLastBuffer) {
  OwnedPool pool = make_pool();
  BufferReference a(pool->take(1000)), b(pool->take(2000));
  fill(a.get(), 5);
  Pool* orphan = pool.release();
  orphan->orphan();
  EXPECT_EQ(a->pool->context(), nullptr);
  b = BufferReference();
  EXPECT_TRUE(holds(a.get(), 5));
  BufferReference copy = a;
  a = BufferReference();
  EXPECT_TRUE(holds(copy.get(), 5));
  std::thread([last = std::move(copy)]() mutable { last = BufferReference(); }).join();  // a leak checker sees the rest
}

TEST(BufferReference, CountsCopies) {
  const OwnedPool pool = make_pool();
  BufferReference a(pool->take(64));
  EXPECT_EQ(a->references, 1);
  {
    const BufferReference b = a;
    BufferReference c = b;
    EXPECT_EQ(a->references, 3);
    const BufferReference d = std::move(c);
    EXPECT_EQ(a->references, 3);
    EXPECT_FALSE(static_cast<bool>(c));  // NOLINT(bugprone-use-after-move)
    a = *&a;
    EXPECT_EQ(a->references, 3);
  }
  EXPECT_EQ(a->references, 1);
  EXPECT_EQ(pool->use().live, 64u);
  a = BufferReference(pool->take(128));
  EXPECT_EQ(pool->use().live, 128u);
}

TEST(BufferReference, DoesNotCountWhatNoPoolOwns) {
  Buffer parameter;
  {
    const BufferReference a(&parameter);
    const BufferReference b = a;
    EXPECT_EQ(b.get(), &parameter);
  }
  EXPECT_EQ(parameter.references, 0);
}

}  // namespace
