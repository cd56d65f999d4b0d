// SPDX-License-Identifier: Apache-2.0
#include "base/sync_folder.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace penstock::sync_folder_test {
namespace {

TEST(SyncFolder, TakesAFolderAndTheWorkingDirectory) {
  EXPECT_NO_THROW(sync_folder(testing::TempDir()));
  EXPECT_NO_THROW(sync_folder({}));
}

TEST(SyncFolder, NamesAFolderThatIsNotThere) {
  try {
    sync_folder("/no/such/folder");
    FAIL() << "taken";
  } catch (const SystemError& error) {
    EXPECT_STREQ(error.what(), "/no/such/folder: cannot be written to the device: No such file or directory");
  }
}

}  // namespace
}  // namespace penstock::sync_folder_test
