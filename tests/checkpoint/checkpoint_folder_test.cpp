// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint_folder.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "storage/temporary_folder.hpp"

namespace penstock::checkpoint_folder_test {
namespace {

void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; }

std::string read(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::filesystem::path file_of(const std::filesystem::path& folder, int step) {
  return folder / ("step-0000000" + std::to_string(step) + ".h5");
}

TEST(SetAsideLater, MovesWhatIsBeyondTheStepAndOverwritesNothing) {
  const TemporaryFolder temporary;
  const std::filesystem::path folder = temporary.path();
  for (const int step : {2, 4, 6}) write(file_of(folder, step), "first " + std::to_string(step));
  EXPECT_EQ(set_aside_later(folder, 4), std::vector{file_of(folder / "left-at-4", 6)});
  EXPECT_TRUE(std::filesystem::exists(file_of(folder, 2)));
  EXPECT_TRUE(std::filesystem::exists(file_of(folder, 4)));
  EXPECT_FALSE(std::filesystem::exists(file_of(folder, 6)));

  write(file_of(folder, 6), "second 6");
  EXPECT_EQ(set_aside_later(folder, 4), std::vector{folder / "left-at-4" / "step-00000006-2.h5"});
  EXPECT_EQ(read(file_of(folder / "left-at-4", 6)), "first 6");
  EXPECT_EQ(read(folder / "left-at-4" / "step-00000006-2.h5"), "second 6");
  EXPECT_TRUE(set_aside_later(folder, 4).empty());
}

}  // namespace
}  // namespace penstock::checkpoint_folder_test
