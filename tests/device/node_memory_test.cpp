// SPDX-License-Identifier: Apache-2.0
#include "device/node_memory.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>

namespace penstock::node_memory_test {
namespace {

namespace fs = std::filesystem;

/// A machine's /proc and /sys, written into a folder.
class Machine : public testing::Test {
 protected:
  Machine() {
    std::string name = (fs::temp_directory_path() / "penstock-device-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder could be made at " + name);
    root = name;
    write("proc/meminfo", "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n");
  }
  ~Machine() override { fs::remove_all(root); }

  void write(const fs::path& file, const std::string& text) const {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text;
  }

  fs::path root;
};

TEST_F(Machine, WithoutGroupsIsWhatTheSystemSays) {
  const NodeMemory memory = node_memory(root);
  EXPECT_EQ(memory.total, 1000U * 1024);
  EXPECT_EQ(memory.available, 600U * 1024);
}

TEST_F(Machine, OfAGroupHasWhatEveryGroupAboveAllows) {
  write("proc/self/cgroup", "0::/job_7/step_0\n");
  write("sys/fs/cgroup/job_7/step_0/memory.max", "max\n");
  write("sys/fs/cgroup/job_7/memory.max", "500000\n");
  write("sys/fs/cgroup/job_7/memory.current", "300000\n");
  write("sys/fs/cgroup/job_7/memory.stat", "anon 100000\ninactive_file 50000\n");
  const NodeMemory memory = node_memory(root);
  EXPECT_EQ(memory.total, 500000U);
  EXPECT_EQ(memory.available, 500000U - (300000U - 50000U)) << "files that are only cached go when memory is wanted";
}

TEST_F(Machine, OfVersionOneHasItsLimitToo) {
  write("proc/self/cgroup", "5:devices:/\n4:memory:/job\n0::/\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "200000\n");
  write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "250000\n");
  const NodeMemory memory = node_memory(root);
  EXPECT_EQ(memory.total, 200000U);
  EXPECT_EQ(memory.available, 0U);
}

TEST_F(Machine, WithALargerLimitThanItsMemoryHasItsMemory) {
  write("proc/self/cgroup", "0::/job\n");
  write("sys/fs/cgroup/job/memory.max", "99999999999\n");
  write("sys/fs/cgroup/job/memory.current", "10\n");
  EXPECT_EQ(node_memory(root).total, 1000U * 1024);
  EXPECT_EQ(node_memory(root).available, 600U * 1024);
}

TEST_F(Machine, ThatSaysNothingLimitsNothing) {
  const NodeMemory memory = node_memory(root / "nowhere");
  EXPECT_EQ(memory.total, std::numeric_limits<std::size_t>::max());
}

TEST(NodeMemory, OfThisMachineIsThere) {
  const NodeMemory memory = node_memory();
  EXPECT_GT(memory.total, std::size_t{1} << 20);
  EXPECT_LE(memory.available, memory.total);
}

}  // namespace
}  // namespace penstock::node_memory_test
