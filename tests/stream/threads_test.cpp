// A stream block under many threads: the same bits for any number of them, and one const block used by several at once.
#include <gtest/gtest.h>

#include <thread>

#include "aulos/autograd/tape.hpp"
#include "aulos/ops/reduce.hpp"
#include "aulos/train/optimizer.hpp"
#include "kernels/thread_counts.hpp"
#include "stream/block_support.hpp"

namespace {

using namespace block_support;

using Block = StreamBlock<float, 2, LayerNorm<float>, PerHead<RmsNorm<float>>, Mlp<float>, Gated, Joint<>>;

const std::array<Index, 2> channels{62, 48};
const std::array<Index, 3> tokens{131, 37, 0};  // ragged in every direction that work is split in

std::vector<float> numbers(const Block::Streams& y) {
  std::vector<float> all = naive::values(y[0]);
  const std::vector<float> rest = naive::values(y[1]);
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

// Results, gradients of the streams, and parameters after steps of an optimizer.
std::vector<std::vector<float>> trained(int threads) {
  Context context({.threads = threads});
  Named<Block> named = make<Block>(channels);
  aulos::GradTape tape(context);
  aulos::train::AdamW<float> optimizer;
  std::vector<std::vector<float>> all;
  for (int step = 0; step < 3; ++step) {
    Inputs<float, 2> in(context, channels, step == 1, tokens);
    for (auto& x : in.x) tape.watch(x);
    auto x = in.x;
    const auto y = named.block(std::move(x), in.m);
    tape.backward(aulos::add(aulos::mean(aulos::multiply(y[0], y[0])), aulos::mean(aulos::multiply(y[1], y[1]))));
    all.push_back(numbers(y));
    for (const auto& stream : in.x) all.push_back(naive::values(tape.gradient(stream)));
    optimizer.step(named, tape, 0.01);
  }
  aulos::nn::for_each_parameter(named,
                                [&](const auto& p) { all.emplace_back(p.any().data(), p.any().data() + p.count()); });
  return all;
}

TEST(StreamBlockThreads, TrainingIsBitEqual) {
  const auto one = trained(1);
  for (const int threads : aulos_test::more_threads) {
    const auto more = trained(threads);
    ASSERT_EQ(more.size(), one.size());
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_EQ(more[i], one[i]) << threads << " threads, array " << i;
  }
}

TEST(StreamBlockThreads, OneConstBlockInManyContexts) {
  const Named<Block> named = make<Block>(channels);
  constexpr std::size_t users = 4;
  const auto run = [&](std::size_t user) {
    Context context({.threads = 1 + static_cast<int>(user % 2)});
    const std::array<Index, 3> own{20 + 3 * static_cast<Index>(user), 7, 0};  // other shapes in each
    std::vector<float> first;
    for (int call = 0; call < 10; ++call) {
      const Inputs<float, 2> in(context, channels, false, own);
      const auto y = numbers(named.block(copies(in.x), in.m));
      if (call == 0) first = y;
      if (y != first) return std::vector<float>();
    }
    return first;
  };
  std::vector<std::vector<float>> serial, together(users);
  for (std::size_t u = 0; u < users; ++u) serial.push_back(run(u));
  std::vector<std::thread> threads;
  for (std::size_t u = 0; u < users; ++u) threads.emplace_back([&, u] { together[u] = run(u); });
  for (std::thread& t : threads) t.join();
  for (std::size_t u = 0; u < users; ++u) {
    EXPECT_FALSE(serial[u].empty());
    EXPECT_EQ(together[u], serial[u]) << u;
  }
}

}  // namespace
