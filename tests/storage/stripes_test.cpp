// SPDX-License-Identifier: Apache-2.0
// Stripes are asked for by the words of MPI-IO's hints and told to Lustre's `lfs`; here a script takes its place.

#include "storage/stripes.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/error.hpp"
#include "storage/temporary_folder.hpp"

namespace penstock::stripes_test {
namespace {

class StripesTest : public testing::Test {
 protected:
  /// `lfs` writes its arguments into a file next to it, makes its last argument, and ends so.
  void put_lfs(int exit_code) {
    const std::filesystem::path lfs = folder.path() / "lfs";
    std::ofstream(lfs) << "#!/bin/sh\necho \"$@\" > " << said.string()
                       << "\nfor last; do :; done\ntouch \"$last\"\nchmod 644 \"$last\"\nexit " << exit_code << "\n";
    std::filesystem::permissions(lfs, std::filesystem::perms::owner_all);
    setenv("PATH", (folder.path().string() + ":" + path_before).c_str(), 1);
  }
  void TearDown() override { setenv("PATH", path_before.c_str(), 1); }

  std::string words() const {
    std::ifstream text(said);
    return {std::istreambuf_iterator<char>(text), {}};
  }

  TemporaryFolder folder;
  std::string path_before = std::getenv("PATH");
  std::filesystem::path said = folder.path() / "said", file = folder.path() / "step 1.h5";
};

TEST_F(StripesTest, AreReadFromHints) {
  EXPECT_FALSE(Stripes::from({}).any());
  EXPECT_FALSE(Stripes::from({{"cb_nodes", "4"}}).any());
  const Stripes stripes = Stripes::from({{"striping_factor", "-1"}, {"striping_unit", "4194304"}});
  EXPECT_EQ(stripes.count, -1);
  EXPECT_EQ(stripes.bytes, 4194304);
  EXPECT_THROW(Stripes::from({{"striping_factor", "many"}}), InputError);
}

TEST_F(StripesTest, AreToldToLustre) {
  put_lfs(0);
  make_striped(file, Stripes::from({{"striping_factor", "16"}, {"striping_unit", "4194304"}}));
  EXPECT_EQ(words(), "setstripe -c 16 -S 4194304 " + file.string() + "\n");
  EXPECT_TRUE(std::filesystem::exists(file));
}

TEST_F(StripesTest, StripedFilesFollowTheUmaskAsOthersDo) {
  put_lfs(0);
  const mode_t before = umask(0007);
  make_striped(file, Stripes::from({{"striping_factor", "16"}}));
  umask(before);
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(file).permissions(),
            perms::owner_read | perms::owner_write | perms::group_read | perms::group_write);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 3) << "lfs, its words and the file";
}

TEST_F(StripesTest, NobodyIsAskedForNone) {
  put_lfs(0);
  make_striped(file, {});
  EXPECT_FALSE(std::filesystem::exists(said));
}

TEST_F(StripesTest, AFileSystemWithoutThemIsNoError) {
  put_lfs(22);
  make_striped(file, Stripes::from({{"striping_factor", "16"}}));
  EXPECT_EQ(words(), "setstripe -c 16 " + file.string() + "\n");
  setenv("PATH", "/nowhere", 1);
  make_striped(file, Stripes::from({{"striping_factor", "16"}}));
}

}  // namespace
}  // namespace penstock::stripes_test
