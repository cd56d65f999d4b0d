// SPDX-License-Identifier: Apache-2.0
#include "device/memory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/error.hpp"

namespace penstock::memory_test {
namespace {

TEST(DeviceMemory, IsZeroedAndWritableToItsLastByte) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{4097}, std::size_t{5} << 20}) {
    const DeviceMemory memory(bytes);
    ASSERT_EQ(memory.bytes(), bytes);
    ASSERT_TRUE(std::all_of(memory.data(), memory.data() + bytes, [](std::byte b) { return b == std::byte{0}; }));
    memory.data()[bytes - 1] = std::byte{7};
    EXPECT_EQ(memory.data()[bytes - 1], std::byte{7});
  }
}

TEST(DeviceMemory, BeginsAtAPage) {
  const DeviceMemory memory(1);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % 4096, 0U);
}

TEST(DeviceMemory, OfNoBytesIsAbsent) {
  EXPECT_EQ(DeviceMemory(0).data(), nullptr);
  EXPECT_EQ(DeviceMemory().bytes(), 0U);
}

TEST(DeviceMemory, MovesWithoutACopy) {
  DeviceMemory first(100);
  std::byte* const data = first.data();
  DeviceMemory second(std::move(first));
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(first.data(), nullptr);  // NOLINT: what a moved-from one is, is promised
  EXPECT_EQ(first.bytes(), 0U);
  DeviceMemory third(7);
  third = std::move(second);
  EXPECT_EQ(third.data(), data);
  EXPECT_EQ(third.bytes(), 100U);
}

TEST(DeviceMemory, RefusesWhatNoMachineHasAndSaysHowMuchWasWanted) {
  // Above the 57 bits of address space that any processor of today has, so that overcommitting systems refuse it, too.
  constexpr std::size_t absurd = std::size_t{1} << 60;
  try {
    const DeviceMemory memory(absurd);
    FAIL() << "2^60 bytes were granted";
  } catch (const SystemError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("1152921504606846976 bytes"), std::string::npos) << message;
    EXPECT_NE(message.find("batch.micro"), std::string::npos) << "no cure: " << message;
  }
}

TEST(DeviceMemory, RefusesTheLargestNumberToo) {
  EXPECT_THROW(DeviceMemory(std::numeric_limits<std::size_t>::max()), SystemError);
}

}  // namespace
}  // namespace penstock::memory_test
