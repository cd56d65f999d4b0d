// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 3
#include "run/data_stage.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "data/temporary_folder.hpp"
#include "support/test_world.hpp"

namespace penstock::data_stage_test {
namespace {

using test::TemporaryFolder;

std::string text_in(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

StagedFile stage(const std::filesystem::path& file, const std::filesystem::path& folder) {
  std::atomic<std::uint64_t> progress{0};
  return stage_file(file, folder, progress);
}

std::string long_text() {
  std::string text;
  for (int i = 0; text.size() < (9U << 20); ++i) text += std::to_string(i);  // more than two blocks, no multiple of 8
  return text + "end";
}

class DataStage : public testing::Test {
 protected:
  void SetUp() override { write(file_, long_text()); }
  TemporaryFolder shared_, node_;
  std::filesystem::path file_ = shared_.path() / "train.tok";
};

TEST_F(DataStage, CopiesByteForByteAndLeavesNothingElse) {
  const StagedFile staged = stage(file_, node_.path());
  EXPECT_TRUE(staged.copied);
  EXPECT_EQ(staged.path.parent_path(), node_.path());
  EXPECT_EQ(text_in(staged.path), text_in(file_));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(node_.path()), {}), 1);
}

TEST_F(DataStage, ASecondLifeFindsTheCopy) {
  const StagedFile first = stage(file_, node_.path());
  const StagedFile second = stage(file_, node_.path());
  EXPECT_FALSE(second.copied);
  EXPECT_EQ(second.path, first.path);
  EXPECT_EQ(second.digest, first.digest);
}

TEST_F(DataStage, ADamagedCopyIsMadeAgain) {
  const StagedFile first = stage(file_, node_.path());
  std::string text = text_in(first.path);
  text[text.size() / 2] ^= 1;
  write(first.path, text);
  const StagedFile second = stage(file_, node_.path());
  EXPECT_TRUE(second.copied);
  EXPECT_EQ(text_in(second.path), text_in(file_));
}

TEST_F(DataStage, AFileThatWasChangedIsCopiedAnew) {
  const StagedFile first = stage(file_, node_.path());
  write(file_, "another text");
  const StagedFile second = stage(file_, node_.path());
  EXPECT_TRUE(second.copied);
  EXPECT_NE(second.path, first.path);
  EXPECT_EQ(text_in(second.path), "another text");
}

TEST_F(DataStage, AFolderThatIsNotThereIsRefused) { EXPECT_THROW(stage(file_, node_.path() / "nowhere"), InputError); }

TEST_F(DataStage, AFileThatIsNotThereIsRefusedAndLeavesNothing) {
  EXPECT_ANY_THROW(stage(shared_.path() / "nothing.tok", node_.path()));
  EXPECT_TRUE(std::filesystem::is_empty(node_.path()));
}

TEST(StageFiles, EveryRankOfANodeGetsTheSameCopies) {
  World& world = test_world();
  std::optional<TemporaryFolder> folder;
  std::string place;
  if (world.rank() == 0) {
    folder.emplace();
    place = folder->path();
    write(folder->path() / "a.tok", long_text());
    write(folder->path() / "b.tok", "short");
    std::filesystem::create_directory(folder->path() / "node");
  }
  place = world.broadcast(place);
  const std::filesystem::path root = place;
  const auto paths = stage_files(world, {root / "a.tok", root / "b.tok"}, root / "node", 60);
  ASSERT_EQ(paths.size(), 2U);
  EXPECT_EQ(text_in(paths[0]), long_text());
  EXPECT_EQ(text_in(paths[1]), "short");
  EXPECT_THROW(stage_files(world, {root / "a.tok"}, root / "nowhere", 60), CollectiveFailure);
  world.barrier();  // before rank 0 removes the folder
}

}  // namespace
}  // namespace penstock::data_stage_test
