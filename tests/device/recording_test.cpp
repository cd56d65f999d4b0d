// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "device/recording.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>

#include "device/copy.hpp"
#include "device/memory.hpp"

namespace penstock::recording_test {
namespace {

class RecordingTest : public testing::Test {
 protected:
  static constexpr std::size_t bytes = sizeof(std::int64_t);

  std::int64_t& input() { return *reinterpret_cast<std::int64_t*>(from_on_host_.data()); }
  std::int64_t output() {
    copy_to_host(queue_, to_.data(), on_host_.data(), bytes);
    queue_.drain("this test's copies");
    return *reinterpret_cast<std::int64_t*>(on_host_.data());
  }
  void copy_by_way_of_workspace() {
    std::byte* between = queue_.workspace(bytes);
    copy_on_device(queue_, from_.data(), between, bytes);
    copy_on_device(queue_, between, to_.data(), bytes);
  }
  /// What comes out where `value` goes in.
  std::int64_t run(Recording& recording, std::int64_t value) {
    input() = value;
    from_on_host_.publish(queue_);
    recording.run([this] { copy_by_way_of_workspace(); });
    return output();
  }

  Queue queue_;
  DeviceMemory from_{bytes}, to_{bytes};
  HostMirror from_on_host_{from_.data(), bytes};
  HostMemory on_host_{bytes};
};

TEST_F(RecordingTest, WorksOnWhatTheMemoryHoldsEachTime) {
  Recording recording(queue_);
  for (const std::int64_t value : {3, 5, 7, 11, 13}) EXPECT_EQ(run(recording, value), value);
}

TEST_F(RecordingTest, FollowsTheWorkspace) {
  Recording recording(queue_);
  for (const std::int64_t value : {1, 2, 3}) EXPECT_EQ(run(recording, value), value);
  const DeviceMemory other(1 << 20);
  queue_.use_workspace(other.data(), other.bytes());
  for (const std::int64_t value : {4, 5, 6}) EXPECT_EQ(run(recording, value), value);
  queue_.workspace(4 << 20);  // more than it was lent
  for (const std::int64_t value : {7, 8, 9}) EXPECT_EQ(run(recording, value), value);
}

TEST_F(RecordingTest, OutlivesWorkThatThrows) {
  Recording recording(queue_);
  for (const std::int64_t value : {1, 2}) {
    EXPECT_THROW(recording.run([] { throw std::runtime_error("no work"); }), std::runtime_error);
    EXPECT_EQ(run(recording, value), value);
  }
}

TEST(Recording, OfAQueueThatDoesNotRecordIsTheWorkItself) {
  Queue queue({.records = false});
  Recording recording(queue);
  int times = 0;
  for (int i = 0; i < 4; ++i) recording.run([&] { ++times; });
  EXPECT_EQ(times, 4);
}

}  // namespace
}  // namespace penstock::recording_test
