#include "aulos/diffusion/respacing.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "diffusion/gaussian.hpp"

namespace {

using aulos::Index;
using aulos::diffusion::respaced_timesteps;
using diffusion_support::config_error;
using V = std::vector<Index>;

TEST(Respacing, TheWholeChain) {
  V all(1000);
  std::iota(all.begin(), all.end(), Index{0});
  EXPECT_EQ(respaced_timesteps("", 1000), all);
  EXPECT_EQ(respaced_timesteps("1000", 1000), all);
  EXPECT_EQ(respaced_timesteps("ddim1000", 1000), all);
  EXPECT_EQ(respaced_timesteps("", 1), V{0});
}

// space_timesteps of the published code, run in Python.
TEST(Respacing, Sections) {
  EXPECT_EQ(respaced_timesteps("10", 1000), (V{0, 111, 222, 333, 444, 555, 666, 777, 888, 999}));
  EXPECT_EQ(respaced_timesteps("1", 1000), V{0});
  EXPECT_EQ(respaced_timesteps("2,3", 11), (V{0, 5, 6, 8, 10}));                          // sections of 6 and 5
  EXPECT_EQ(respaced_timesteps("3, 1,5", 101), (V{0, 16, 33, 34, 68, 76, 84, 92, 100}));  // 16.5 and 8 to even
  EXPECT_EQ(respaced_timesteps("4", 7), (V{0, 2, 4, 6}));
  EXPECT_EQ(respaced_timesteps("3", 6), (V{0, 2, 5}));  // 2.5
  EXPECT_EQ(respaced_timesteps("3", 8), (V{0, 4, 7}));  // 3.5
  const V quarter = respaced_timesteps("250", 1000);
  EXPECT_EQ(quarter.size(), 250u);
  EXPECT_EQ(quarter[1], 4);
  EXPECT_EQ(quarter[125], 502);
  EXPECT_EQ(quarter.back(), 999);
  // Strides are added up: the middle of 21 lies just below 499.5.
  EXPECT_EQ(respaced_timesteps("21", 1000)[10], 499);
}

TEST(Respacing, Strides) {
  EXPECT_EQ(respaced_timesteps("ddim4", 1000), (V{0, 250, 500, 750}));
  EXPECT_EQ(respaced_timesteps("ddim4", 10), (V{0, 3, 6, 9}));
  const V steps = respaced_timesteps("ddim25", 1000);
  EXPECT_EQ(steps.size(), 25u);
  EXPECT_EQ(steps.back(), 960);
  EXPECT_EQ(respaced_timesteps("ddim1", 1000), V{0});
}

TEST(Respacing, RisesWithoutRepeating) {
  for (Index count = 1; count <= 1000; ++count) {
    const V steps = respaced_timesteps(std::to_string(count), 1000);
    ASSERT_EQ(steps.size(), static_cast<std::size_t>(count));
    for (std::size_t i = 1; i < steps.size(); ++i) ASSERT_LT(steps[i - 1], steps[i]) << count;
    ASSERT_EQ(steps.back(), count == 1 ? 0 : 999);
  }
}

TEST(Respacing, SaysWhatIsWrong) {
  const auto error = [](const char* spec, Index steps = 1000) {
    return config_error([&] { respaced_timesteps(spec, steps); });
  };
  EXPECT_EQ(error("ddim300"), "respaced_timesteps: 'ddim300': no stride over 1000 steps gives 300");
  EXPECT_EQ(error("10,600"), "respaced_timesteps: '10,600': section 1 has 500 steps, not 600");
  EXPECT_EQ(error("1001"), "respaced_timesteps: '1001': section 0 has 1000 steps, not 1001");
  for (const char* wrong : {"a", "10,", ",10", "10,,10", "0", "-3", "1.5", "ddim", "ddimx", "99999999999999999999"})
    EXPECT_NE(error(wrong).find("is no count of steps"), std::string::npos) << wrong;
  EXPECT_EQ(error("", 0), "respaced_timesteps: train_steps is 0, expected >= 1");
}

}  // namespace
