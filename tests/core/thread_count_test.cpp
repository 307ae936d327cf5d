#include "aulos/core/thread_count.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace {

using aulos::cgroup_path;
using aulos::cgroup_quota;
using aulos::Index;
using aulos::quota_processors;

TEST(ThreadCountTest, CpuMaxOfCgroup2) {
  EXPECT_EQ(quota_processors("200000 100000"), 2);
  EXPECT_EQ(quota_processors("200000 100000\n"), 2);
  EXPECT_EQ(quota_processors("150000 100000\n"), 2);
  EXPECT_EQ(quota_processors("50000 100000"), 1);
  EXPECT_EQ(quota_processors("100000 100000"), 1);
  EXPECT_EQ(quota_processors("100001 100000"), 2);
  EXPECT_EQ(quota_processors("9223372036854775807 1"), INT64_MAX);
  for (const char* text : {"", "max 100000\n", "max", "200000", "200000 ", " 100000", "x 100000", "200000 x",
                           "0 100000", "-1 100000", "200000 0", "200000 -1", "2e5 100000", "200000 100000 1",
                           "200000.5 100000", "92233720368547758080 100000", "\n"}) {
    EXPECT_EQ(quota_processors(text), std::nullopt) << text;
  }
}

TEST(ThreadCountTest, QuotaAndPeriodOfCgroup1) {
  EXPECT_EQ(quota_processors("200000\n", "100000\n"), 2);
  EXPECT_EQ(quota_processors("1\n", "100000\n"), 1);
  EXPECT_EQ(quota_processors("-1\n", "100000\n"), std::nullopt);
  EXPECT_EQ(quota_processors("", ""), std::nullopt);
  EXPECT_EQ(quota_processors("200000", ""), std::nullopt);
}

TEST(ThreadCountTest, PathOfTheGroup) {
  const char* v1 = "12:freezer:/\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/set\n0::/unified/x:y\n";
  EXPECT_EQ(cgroup_path(v1, "cpu"), "/docker/abc");
  EXPECT_EQ(cgroup_path(v1, "cpuacct"), "/docker/abc");
  EXPECT_EQ(cgroup_path(v1, "cpuset"), "/set");
  EXPECT_EQ(cgroup_path(v1, ""), "/unified/x:y");
  EXPECT_EQ(cgroup_path("0::/", ""), "/");
  EXPECT_EQ(cgroup_path("0::/", "cpu"), std::nullopt);
  EXPECT_EQ(cgroup_path("1:name=systemd:/a\n", ""), std::nullopt);
  for (const char* text : {"", "\n\n", "garbage", "0:", "::", "0"}) EXPECT_EQ(cgroup_path(text, "cpu"), std::nullopt);
}

class CgroupFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("cgroup_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  std::optional<Index> quota() const { return cgroup_quota((folder_ / "self").string(), (folder_ / "fs").string()); }

 private:
  std::filesystem::path folder_;
};

TEST_F(CgroupFilesTest, TheTightestParentCounts) {
  write("self", "0::/a/b\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("fs/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("fs/a/cpu.max", "300000 100000\n");
  EXPECT_EQ(quota(), 3);
  write("fs/a/b/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 3);
  write("fs/a/b/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota(), 2);
}

TEST_F(CgroupFilesTest, AContainerSeesItsQuotaAtTheRoot) {
  write("self", "0::/host/path/that/is/not/here\n");
  write("fs/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 1);
}

TEST_F(CgroupFilesTest, Cgroup1) {
  write("self", "5:cpuacct,cpu:/job\n");
  write("fs/cpu/cpu.cfs_quota_us", "-1\n");
  write("fs/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("fs/cpu/job/cpu.cfs_quota_us", "250000\n");
  write("fs/cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 3);
}

TEST_F(CgroupFilesTest, WithoutFilesThereIsNoLimit) { EXPECT_EQ(quota(), std::nullopt); }

TEST(ThreadCountTest, TheSmallestKnownLimitCounts) {
  EXPECT_EQ(aulos::thread_count(8, 4, 2), 2);
  EXPECT_EQ(aulos::thread_count(8, 4, std::nullopt), 4);
  EXPECT_EQ(aulos::thread_count(8, 0, std::nullopt), 8);
  EXPECT_EQ(aulos::thread_count(2, 4, 16), 2);
  EXPECT_EQ(aulos::thread_count(0, 0, std::nullopt), 1) << "hardware_concurrency() may be 0";
  EXPECT_EQ(aulos::thread_count(0, 3, std::nullopt), 3);
  EXPECT_GE(aulos::thread_count(INT64_MAX, INT64_MAX, INT64_MAX), 1);
}

TEST(ThreadCountTest, DefaultIsAtLeastOne) {
  EXPECT_GE(aulos::default_thread_count(), 1);
  EXPECT_LE(aulos::default_thread_count(), std::max(1U, std::thread::hardware_concurrency()));
}

#if defined(__linux__)
TEST(ThreadCountTest, FollowsTheAffinityOfTheCallingThread) {
  int inside = 0;
  Index affinity = 0;
  std::thread([&] {
    cpu_set_t allowed, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    CPU_ZERO(&one);
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed)) continue;
      CPU_SET(cpu, &one);
      break;
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    affinity = aulos::affinity_count();
    inside = aulos::default_thread_count();
  }).join();
  EXPECT_EQ(affinity, 1);
  EXPECT_EQ(inside, 1);
}
#endif

}  // namespace
