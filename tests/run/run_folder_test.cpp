// SPDX-License-Identifier: Apache-2.0
#include "run/run_folder.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.hpp"
#include "data/temporary_folder.hpp"
#include "run/file_size_limit.hpp"

namespace penstock::run_folder_test {
namespace {

using test::FileSizeLimit;
using test::TemporaryFolder;

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}

void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; }

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no InputError was thrown";
}

TEST(RunFolder, NamesWhatIsInIt) {
  const RunFolder folder("runs/tiny");
  EXPECT_EQ(folder.deck(), "runs/tiny/deck.toml");
  EXPECT_EQ(folder.metrics(), "runs/tiny/metrics.csv");
  EXPECT_EQ(folder.checkpoints(), "runs/tiny/checkpoints");
  EXPECT_EQ(folder.captures(), "runs/tiny/captures");
  EXPECT_EQ(folder.end(), "runs/tiny/end.json");
}

TEST(RunFolder, CheckMakesNothing) {
  const TemporaryFolder parent;
  const RunFolder folder(parent.path() / "a" / "b");
  EXPECT_NO_THROW(folder.check());
  EXPECT_TRUE(std::filesystem::is_empty(parent.path()));
}

TEST(RunFolder, CheckTakesAFolderThatIsThere) {
  const TemporaryFolder parent;
  EXPECT_NO_THROW(RunFolder(parent.path()).check());
}

TEST(RunFolder, IsNoFileAndNotBelowOne) {
  const TemporaryFolder parent;
  write(parent.path() / "file", "text");
  for (const char* path : {"file", "file/run", "file/deep/run"}) {
    const std::string message = message_of([&] { RunFolder(parent.path() / path).check(); });
    EXPECT_NE(message.find((parent.path() / "file").string() + " is a file"), std::string::npos) << message;
    EXPECT_NE(message.find("--run"), std::string::npos) << "no cure: " << message;
  }
}

TEST(RunFolder, RelativePathsAreCheckedToo) {
  const TemporaryFolder parent;
  write(parent.path() / "file", "text");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(parent.path());
  const std::string message = message_of([] { RunFolder("file/run").check(); });
  std::filesystem::current_path(before);
  EXPECT_NE(message.find("is a file"), std::string::npos) << message;
}

/// The message of check to a user who is not root: the process of a death test gives up its rights.
int code_of_check_without_rights(const std::filesystem::path& path, const std::string& expected) {
  constexpr uid_t nobody = 65534;
  if (geteuid() == 0 && setresuid(nobody, nobody, nobody) != 0) return 3;
  const std::string message = message_of([&] { RunFolder(path).check(); });
  if (message.find(expected) != std::string::npos) return 0;
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

TEST(RunFolderDeathTest, MustBeWritable) {
  const TemporaryFolder parent;
  chmod(parent.path().c_str(), 0555);
  const std::string expected = "no permission in " + parent.path().string();
  EXPECT_EXIT(std::_Exit(code_of_check_without_rights(parent.path(), expected)), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(std::_Exit(code_of_check_without_rights(parent.path() / "run", expected)), testing::ExitedWithCode(0),
              "");
}

TEST(RunFolderDeathTest, BelowAFolderThatMayNotBeEnteredIsNoPermissionAndNoFile) {
  const TemporaryFolder parent;
  chmod(parent.path().c_str(), 0755);
  const auto closed = parent.path() / "closed";
  std::filesystem::create_directory(closed);
  chmod(closed.c_str(), 0);
  const std::string expected = "no permission in " + closed.string();
  EXPECT_EXIT(std::_Exit(code_of_check_without_rights(closed / "run", expected)), testing::ExitedWithCode(0), "");
  chmod(closed.c_str(), 0755);
}

TEST(RunFolder, CreateMakesItsFolders) {
  const TemporaryFolder parent;
  const RunFolder folder(parent.path() / "a" / "b");
  folder.create();
  EXPECT_TRUE(std::filesystem::is_directory(folder.checkpoints()));
  EXPECT_TRUE(std::filesystem::is_directory(folder.captures()));
  EXPECT_NO_THROW(folder.create()) << "twice";
}

TEST(RunFolder, WhatItMadeCanBeRemovedAgainWhereItIsEmpty) {
  const TemporaryFolder parent;
  std::filesystem::create_directory(parent.path() / "theirs");
  const RunFolder folder(parent.path() / "theirs" / "a" / "b");
  std::vector<std::filesystem::path> made;
  folder.create(made);
  const std::vector<std::filesystem::path> expected{parent.path() / "theirs" / "a", folder.path(), folder.checkpoints(),
                                                    folder.captures()};
  EXPECT_EQ(made, expected);
  write(folder.end(), "{}");
  remove_empty_folders(made);
  EXPECT_TRUE(std::filesystem::exists(folder.end()));
  EXPECT_FALSE(std::filesystem::exists(folder.checkpoints()));
  std::filesystem::remove(folder.end());
  remove_empty_folders(made);
  EXPECT_TRUE(std::filesystem::is_empty(parent.path() / "theirs"));
  made.clear();
  folder.create();
  folder.create(made);
  EXPECT_TRUE(made.empty()) << "all were there";
}

TEST(RunFolder, WhatItMadeIsKnownAlsoWhereItCannotMakeAll) {
  const TemporaryFolder parent;
  write(parent.path() / "captures", "a file in the way");
  std::vector<std::filesystem::path> made;
  EXPECT_THROW(RunFolder(parent.path()).create(made), InputError);
  EXPECT_EQ(made, std::vector<std::filesystem::path>{parent.path() / "checkpoints"});
}

TEST(RunFolder, NamesThatTheSystemDoesNotTakeAreRefused) {
  const TemporaryFolder parent;
  std::filesystem::create_symlink(parent.path() / "circle", parent.path() / "circle");
  std::filesystem::path deep = parent.path();
  while (deep.native().size() < 3900) deep /= std::string(99, 'd');
  for (const auto& path : {parent.path() / std::string(256, 'x'), parent.path() / std::string(256, 'x') / "run",
                           parent.path() / "circle", parent.path() / "circle" / "run", deep / std::string(99, 'e')}) {
    const std::string message = message_of([&] { RunFolder(path).check(); });
    EXPECT_NE(message.find("cannot be made"), std::string::npos) << message;
    EXPECT_NE(message.find("--run"), std::string::npos) << message;
  }
}

TEST(RunFolder, CreateSaysWhyItCannot) {
  const TemporaryFolder parent;
  write(parent.path() / "checkpoints", "a file in the way");
  EXPECT_NE(message_of([&] { RunFolder(parent.path()).create(); }).find("--run"), std::string::npos);
}

TEST(RunFolder, HoldsStepsWhenThereAreRowsOrCheckpoints) {
  const TemporaryFolder parent;
  const RunFolder folder(parent.path() / "run");
  EXPECT_FALSE(folder.holds_steps()) << "there is no folder";
  folder.create();
  EXPECT_FALSE(folder.holds_steps());
  write(folder.metrics(), "step,tokens\n");
  EXPECT_FALSE(folder.holds_steps()) << "a header is no step";
  write(folder.metrics(), "step,tokens\n1,1024\n");
  EXPECT_TRUE(folder.holds_steps());
  std::filesystem::remove(folder.metrics());
  write(folder.checkpoints() / "step-00000000.h5.tmp", "");
  EXPECT_FALSE(folder.holds_steps()) << "a temporary file is no checkpoint";
  write(folder.checkpoints() / "step-00000000.h5", "");
  EXPECT_TRUE(folder.holds_steps());
}

TEST(RunFolder, RecordsHowALifeEnded) {
  const TemporaryFolder parent;
  const RunFolder folder(parent.path());
  const std::vector<std::pair<AttemptEnd, std::string>> ends{{AttemptEnd::running, "running"},
                                                             {AttemptEnd::done, "done"},
                                                             {AttemptEnd::stopped, "stopped"},
                                                             {AttemptEnd::failed, "failed"}};
  for (const auto& [end, name] : ends) {
    folder.record(end, 17, 75, "a \"quoted\" message\nof two lines");
    const nlohmann::json json = nlohmann::json::parse(read(folder.end()));
    EXPECT_EQ(json.at("ended"), name);
    EXPECT_EQ(json.at("step"), 17);
    EXPECT_EQ(json.at("exit_code"), 75);
    EXPECT_EQ(json.at("message"), "a \"quoted\" message\nof two lines");
    EXPECT_FALSE(std::filesystem::exists(folder.end().string() + ".tmp"));
  }
}

TEST(RunFolder, WritesTheDeck) {
  const TemporaryFolder parent;
  const RunFolder folder(parent.path());
  folder.write_deck("[run]\nsteps = 3\n");
  EXPECT_EQ(read(folder.deck()), "[run]\nsteps = 3\n");
}

TEST(RunFolder, FailsLoudlyWhereItCannotWrite) {
  const RunFolder folder("no/such/folder");
  EXPECT_THROW(folder.write_deck("x"), SystemError);
  EXPECT_THROW(folder.record(AttemptEnd::done, 1, 0, ""), SystemError);
}

TEST(RunFolder, AFullDiskLeavesTheEarlierTextAndNothingBesideIt) {
  const TemporaryFolder temporary;
  const RunFolder folder(temporary.path());
  folder.write_product_choices("the choices of the life before\n");
  {
    const FileSizeLimit full(10);
    for (const auto& write : std::vector<std::function<void()>>{
             [&] { folder.write_product_choices("other choices\n"); }, [&] { folder.write_costs("{\"costs\": 1}\n"); },
             [&] { folder.write_trace("{\"traceEvents\": []}\n"); }})
      try {
        write();
        ADD_FAILURE() << "ten bytes hold no such text";
      } catch (const SystemError& error) {
        EXPECT_TRUE(std::string(error.what()).starts_with(temporary.path().string() + "/")) << error.what();
        EXPECT_NE(std::string(error.what()).find(": could not be written: "), std::string::npos) << error.what();
      }
  }
  EXPECT_EQ(read(folder.product_choices()), "the choices of the life before\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(temporary.path()), {}), 1);
}

TEST(RunFolder, GivesNothingANameWithoutLeave) {
  const TemporaryFolder temporary;
  RunFolder folder(temporary.path());
  folder.write_deck("mine");
  folder.ask_before_naming([] { throw SystemError("another run attempt has it"); });
  EXPECT_THROW(folder.write_deck("not mine"), SystemError);
  EXPECT_EQ(read(folder.deck()), "mine");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(temporary.path()), {}), 1);
}

TEST(RunFolder, ListsItsRanks) {
  const TemporaryFolder temporary;
  const RunFolder folder(temporary.path() / "run");
  folder.create();
  folder.write_ranks({"0,a,17,CPU", "1,b,18,CPU"});
  EXPECT_EQ(read(folder.ranks()), "rank,host,process,device\n0,a,17,CPU\n1,b,18,CPU\n");
}

TEST(RunFolder, ReadsItsProductChoices) {
  const TemporaryFolder temporary;
  const RunFolder folder(temporary.path() / "run");
  folder.create();
  EXPECT_EQ(folder.read_product_choices(), "") << "there are none";
  folder.write_product_choices("of this run\n");
  EXPECT_EQ(folder.read_product_choices(), "of this run\n");
  EXPECT_EQ(RunFolder::of_checkpoint(folder.checkpoints() / "step-00000010.h5").read_product_choices(),
            "of this run\n");
  write(folder.product_choices(), "");
  EXPECT_NE(
      message_of([&] { folder.read_product_choices(); }).find("products.tsv is empty: a write did not come to its end"),
      std::string::npos);
}

}  // namespace
}  // namespace penstock::run_folder_test
