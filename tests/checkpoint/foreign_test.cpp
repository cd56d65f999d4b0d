// SPDX-License-Identifier: Apache-2.0
// What others do to a checkpoint: additions are left alone, changes of what the digest covers are damage, and a file
// that cannot be opened now is neither.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>

#include "checkpoint/checkpoint_folder.hpp"
#include "checkpoint/difference.hpp"
#include "checkpoint/inspect.hpp"
#include "checkpoint/sample_file.hpp"
#include "storage/owner.hpp"
#include "storage/temporary_folder.hpp"

namespace penstock::foreign_test {
namespace {

class ForeignTest : public testing::Test {
 protected:
  void SetUp() override {
    start_hdf5();
    write_small_checkpoint(path);
    before = contents();
  }

  Hdf5File open_to_change() const {
    return Hdf5File(check_hdf5(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), "opening"));
  }

  FileContents contents() const { return ArrayReader(path, {checkpoint_format}).contents(); }

  // What is said of the file; empty where it is whole.
  std::string problem(bool* opened = nullptr) {
    const Verification verification = verify_file(io, path);
    if (opened) *opened = verification.opened;
    return verification.problem;
  }

  void is_as_before() {
    EXPECT_EQ(problem(), "");
    const FileContents now = contents();
    EXPECT_EQ(now.attributes, before.attributes);
    ASSERT_EQ(now.arrays.size(), before.arrays.size());
    for (std::size_t a = 0; a < now.arrays.size(); ++a) EXPECT_EQ(now.arrays[a].path, before.arrays[a].path);
    EXPECT_EQ(show_file(io, path).contents.arrays.size(), before.arrays.size());
    EXPECT_TRUE(diff_with_itself());
  }

  bool diff_with_itself() {
    const std::filesystem::path plain = folder.path() / "plain.h5";
    write_small_checkpoint(plain);
    return diff_files(io, path, plain).equal_bits;
  }

  TemporaryFolder folder;
  std::filesystem::path path = folder.path() / "step-00000100.h5";
  FileContents before;
  IoThread io;
};

Hdf5Space scalar() { return Hdf5Space(check_hdf5(H5Screate(H5S_SCALAR), "making a scalar")); }

// Attributes of kinds that Penstock does not write: an array, a text of variable length, a compound.
void add_attributes(hid_t object) {
  const hsize_t three = 3;
  const int numbers[] = {1, 2, 3};
  const Hdf5Space line(H5Screate_simple(1, &three, nullptr));
  const Hdf5Attribute array(H5Acreate2(object, "numbers", H5T_STD_I32LE, line.id(), H5P_DEFAULT, H5P_DEFAULT));
  check_hdf5(H5Awrite(array.id(), H5T_NATIVE_INT, numbers), "writing");

  const Hdf5Type text(H5Tcopy(H5T_C_S1));
  check_hdf5(H5Tset_size(text.id(), H5T_VARIABLE), "making a text");
  const char* note = "the good one";
  const Hdf5Space one = scalar();
  const Hdf5Attribute note_attribute(H5Acreate2(object, "note", text.id(), one.id(), H5P_DEFAULT, H5P_DEFAULT));
  check_hdf5(H5Awrite(note_attribute.id(), text.id(), static_cast<const void*>(&note)), "writing");

  const Hdf5Type pair(H5Tcreate(H5T_COMPOUND, 16));
  check_hdf5(H5Tinsert(pair.id(), "a", 0, H5T_NATIVE_DOUBLE), "making a pair");
  check_hdf5(H5Tinsert(pair.id(), "b", 8, H5T_NATIVE_DOUBLE), "making a pair");
  const double both[] = {1, 2};
  const Hdf5Attribute compound(H5Acreate2(object, "pair", pair.id(), one.id(), H5P_DEFAULT, H5P_DEFAULT));
  check_hdf5(H5Awrite(compound.id(), pair.id(), both), "writing");
  for (int more = 0; more < 20; ++more) write_attribute(object, {fmt::format("more_{}", more), std::int64_t{more}});
}

void add_dataset(hid_t file, const char* name, hid_t type) {
  const hsize_t two = 2;
  const Hdf5Space line(H5Screate_simple(1, &two, nullptr));
  const Hdf5Dataset dataset(
      check_hdf5(H5Dcreate2(file, name, type, line.id(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), "creating"));
}

TEST_F(ForeignTest, AddedAttributesAreLeftAlone) {
  {
    const Hdf5File file = open_to_change();
    add_attributes(file.id());
    const Hdf5Dataset array(H5Dopen2(file.id(), "/parameters/final_norm.weight", H5P_DEFAULT));
    add_attributes(array.id());
    const Hdf5Group group(H5Gopen2(file.id(), "/parameters", H5P_DEFAULT));
    add_attributes(group.id());
  }
  is_as_before();
}

TEST_F(ForeignTest, AddedArraysGroupsAndLinksAreLeftAlone) {
  {
    const Hdf5File file = open_to_change();
    for (const char* name : {"/notes", "/parameters/notes"}) {
      const Hdf5Group group(H5Gcreate2(file.id(), name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    }
    for (const char* name : {"/scale", "/parameters/scale", "/notes/scale"})
      add_dataset(file.id(), name, H5T_IEEE_F32LE);  // as ours, but without checksums
    add_dataset(file.id(), "/parameters/doubles", H5T_IEEE_F64LE);
    check_hdf5(H5Lcreate_soft("/nowhere", file.id(), "/parameters/nowhere", H5P_DEFAULT, H5P_DEFAULT), "linking");
    check_hdf5(H5Lcreate_external("nowhere.h5", "/x", file.id(), "/elsewhere", H5P_DEFAULT, H5P_DEFAULT), "linking");
    check_hdf5(H5Lcreate_hard(file.id(), "/", file.id(), "/parameters/circle", H5P_DEFAULT, H5P_DEFAULT), "linking");
  }
  is_as_before();
}

TEST_F(ForeignTest, ChangesOfWhatTheDigestCoversAreDamage) {
  const std::vector<std::function<void(hid_t)>> changes{
      [](hid_t file) { rewrite_attribute(file, "step", 101); },
      [](hid_t file) { check_hdf5(H5Adelete(file, "deck"), "removing"); },
      [](hid_t file) { check_hdf5(H5Adelete(file, "digest_names"), "removing"); },
      [](hid_t file) {  // a list without the seed, and another seed
        check_hdf5(H5Adelete(file, "digest_names"), "removing");
        write_attribute(file, {"digest_names", std::string("deck\nformat\nformat_version\nsamples\nstep")});
      },
      [](hid_t file) {
        check_hdf5(H5Adelete(file, "digest_names"), "removing");
        write_attribute(file, {"digest_names", std::string("deck\ndeck")});
      },
      [](hid_t file) {
        check_hdf5(H5Adelete(file, "step"), "removing");
        write_attribute(file, {"step", std::string("100")});
      },
      [](hid_t file) { check_hdf5(H5Ldelete(file, "/parameters/final_norm.weight", H5P_DEFAULT), "removing"); },
      [](hid_t file) {
        check_hdf5(H5Ldelete(file, "/parameters/final_norm.weight", H5P_DEFAULT), "removing");
        add_dataset(file, "/parameters/final_norm.weight", H5T_IEEE_F32LE);
      },
      [](hid_t file) {
        check_hdf5(H5Lmove(file, "/parameters/final_norm.weight", file, "/parameters/b", H5P_DEFAULT, H5P_DEFAULT),
                   "moving");
      }};
  for (std::size_t c = 0; c < changes.size(); ++c) {
    write_small_checkpoint(path);
    {
      const Hdf5File file = open_to_change();
      changes[c](file.id());
    }
    bool opened = false;
    EXPECT_NE(problem(&opened).find("damaged"), std::string::npos) << "change " << c;
    EXPECT_TRUE(opened) << "change " << c;
  }
}

// ---- Version 1 has no list: what Penstock wrote then is what its digest covers. ----

class VersionOneTest : public ForeignTest {
 protected:
  // tests/checkpoint/version-1.h5 is of the program at the commit before version 2.
  void SetUp() override {
    start_hdf5();
    std::filesystem::copy_file(std::filesystem::path(PENSTOCK_SOURCE_DIR) / "tests/checkpoint/version-1.h5", path);
    std::filesystem::permissions(path, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
    before = contents();
  }
};

TEST_F(VersionOneTest, IsRead) {
  const CheckpointInfo info = info_of(ArrayReader(path, {checkpoint_format}));
  EXPECT_EQ(info.format_version, 1);
  EXPECT_EQ(info.meta.step, 2);
  EXPECT_EQ(info.meta.seed, 3);
  EXPECT_EQ(info.datasets.size(), 3U * 16);
  EXPECT_EQ(problem(), "");
}

TEST_F(VersionOneTest, CapturesAreRead) {
  std::filesystem::copy_file(std::filesystem::path(PENSTOCK_SOURCE_DIR) / "tests/checkpoint/version-1-capture.h5", path,
                             std::filesystem::copy_options::overwrite_existing);
  for (const bool changed : {false, true}) {
    EXPECT_EQ(problem(), "");
    const FileContents capture = ArrayReader(path, {capture_format}).contents();
    ASSERT_EQ(capture.arrays.size(), 3U);
    EXPECT_EQ(capture.find("/taps/loss")->attributes.size(), 1U);
    if (changed) continue;
    const Hdf5File file = open_to_change();
    add_attributes(file.id());
    add_dataset(file.id(), "/scale", H5T_IEEE_F32LE);
  }
}

TEST_F(VersionOneTest, AddedAttributesAndArraysAreLeftAlone) {
  {
    const Hdf5File file = open_to_change();
    add_attributes(file.id());
    const Hdf5Dataset array(H5Dopen2(file.id(), "/parameters/final_norm.weight", H5P_DEFAULT));
    add_attributes(array.id());
    add_dataset(file.id(), "/scale", H5T_IEEE_F32LE);
    add_dataset(file.id(), "/parameters/scale", H5T_IEEE_F32LE);
    check_hdf5(H5Lcreate_soft("/nowhere", file.id(), "/parameters/nowhere", H5P_DEFAULT, H5P_DEFAULT), "linking");
  }
  EXPECT_EQ(problem(), "");
  EXPECT_EQ(contents().attributes, before.attributes);
  EXPECT_EQ(contents().arrays.size(), before.arrays.size());
}

TEST_F(VersionOneTest, ChangesOfWhatTheDigestCoversAreDamage) {
  {
    const Hdf5File file = open_to_change();
    rewrite_attribute(file.id(), "step", 3);
  }
  EXPECT_NE(problem().find("damaged"), std::string::npos);
}

// ---- Files that cannot be opened now. ----

TEST_F(ForeignTest, AFileThatIsOpenForWritingElsewhereIsNoDamage) {
  // Another process has it open, as h5py does in mode "a"; then it is killed. The file stays marked.
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t writer = fork();
  if (writer == 0) {
    const Hdf5File file = open_to_change();
    if (write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char told = 0;
  ASSERT_EQ(read(ready[0], &told, 1), 1);
  bool opened = true;
  EXPECT_NE(problem(&opened).find("open for writing elsewhere; close it, or run h5clear -s"), std::string::npos);
  EXPECT_FALSE(opened);
  kill(writer, SIGKILL);
  waitpid(writer, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  EXPECT_NE(problem(&opened).find("h5clear -s " + path.string()), std::string::npos);
  EXPECT_FALSE(opened);
  EXPECT_TRUE(keep_newest(folder.path(), 1).empty());

  // The mark is one byte of the superblock, which has a checksum: a flipped bit there is damage.
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  constexpr std::streamoff flags = 11;
  file.seekp(flags);
  file.put('\x04').flush();
  EXPECT_NE(problem(&opened).find("damaged"), std::string::npos);
  EXPECT_TRUE(opened);
}

TEST_F(ForeignTest, AnotherVersionOfThisProgramWroteItAndIsNoDamage) {
  {
    const Hdf5File file = open_to_change();
    rewrite_attribute(file.id(), "format_version", 3);
  }
  bool opened = true;
  EXPECT_NE(problem(&opened).find("this program reads versions 1 to 2"), std::string::npos);
  EXPECT_FALSE(opened);
}

TEST(Hdf5CauseTest, IsReadFromTheReason) {
  EXPECT_EQ(cause_in("file read failed: time = x, filename = 'a', file descriptor = 3, errno = 5, error message = 'y'")
                .system,
            EIO);
  EXPECT_EQ(cause_in("unable to open file: name = 'a', errno = 116, error message").system, ESTALE);
  EXPECT_EQ(cause_in("file read failed: errno = 22, error message = 'Invalid argument'").system, 0)
      << "a damaged address";
  EXPECT_EQ(cause_in("wrong B-tree signature").system, 0);
  EXPECT_TRUE(cause_in("unable to lock file, errno = 11, error message = 'z'").open_elsewhere);
  EXPECT_TRUE(cause_in("file is already open for write (may use <h5clear file> to clear file consistency flags)")
                  .open_elsewhere);
  EXPECT_FALSE(cause_in("checksum mismatch").open_elsewhere);
}

TEST(ListTest, AFolderByTheNameOfACheckpointHasNoSize) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "step-00000008.h5");
  IoThread io;
  const auto list = list_checkpoints(io, folder.path());
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].bytes, 0U);
  EXPECT_NE(list[0].problem.find("is a folder"), std::string::npos);
  EXPECT_EQ(text_of(list).find("GB"), std::string::npos) << text_of(list);
  EXPECT_EQ(what_cannot_be_opened(list), "") << "it is no checkpoint";
}

// Runs as another user where this one is root: in a child, as there is no way back.
template <typename Function>
void as_somebody_else(Function function) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  const pid_t child = fork();
  if (child == 0) {
    const bool other = setgid(65533) == 0 && setuid(65533) == 0;
    _exit(other && function() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(ForeignTest, WhoMayReadAndChangeIsKnown) {
  ASSERT_EQ(chmod(folder.path().c_str(), 0777), 0);
  for (const auto& [mode, read, change] : {std::tuple{0600, false, false}, {0644, true, false}, {0666, true, true}}) {
    ASSERT_EQ(chmod(path.c_str(), static_cast<mode_t>(mode)), 0);
    as_somebody_else([&] { return may_read(path) == read && may_change(path) == change; });
    as_somebody_else([&] { return may_change(folder.path() / "none") && may_read(folder.path() / "none"); });
  }
  ASSERT_EQ(chmod(folder.path().c_str(), 01777), 0);
  as_somebody_else([&] { return may_read(path) && !may_change(path); });
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  EXPECT_NE(owner_text(path).find("it belongs to"), std::string::npos);
  EXPECT_NE(owner_text(path).find("mode 0640"), std::string::npos) << owner_text(path);
  EXPECT_NE(cure_of_no_permission(path, "r").find("`chmod u+r " + path.string()), std::string::npos);
}

TEST_F(ForeignTest, WhatCannotBeReadIsNeitherDamagedNorRemovedNorMoved) {
  ASSERT_EQ(chmod(folder.path().c_str(), 0777), 0);
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  as_somebody_else([&] {
    try {
      const ArrayReader reader(path, {checkpoint_format});
    } catch (const CannotOpen& reason) {
      const std::string text = reason.what();
      return text.find("Permission denied") != std::string::npos && text.find("mode 0600") != std::string::npos &&
             text.find("chmod g+r") != std::string::npos && keep_newest(folder.path(), 1).empty();
    }
    return false;
  });
  as_somebody_else([&] {
    try {
      ensure_later_may_be_moved(folder.path(), 50);
    } catch (const InputError& reason) {
      ensure_later_may_be_moved(folder.path(), 100);
      return std::string(reason.what()).find("from step 50") != std::string::npos;
    }
    return false;
  });
  ASSERT_EQ(chmod(folder.path().c_str(), 0700), 0);
  as_somebody_else([&] {
    try {
      checkpoint_files(folder.path());
    } catch (const CannotOpen& reason) {
      return std::string(reason.what()).find("cannot be listed") != std::string::npos;
    }
    return false;
  });
  EXPECT_TRUE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace penstock::foreign_test
