// SPDX-License-Identifier: Apache-2.0
// Two run attempts in one folder: which is admitted, which is not, and which lost the folder meanwhile.

#include "storage/run_guard.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <fstream>
#include <map>

#include "base/error.hpp"
#include "storage/durable_file.hpp"
#include "storage/folder_time.hpp"
#include "storage/temporary_folder.hpp"
#include "support/sanitized.hpp"

namespace penstock::run_guard_test {
namespace {

// Times that a test can wait for.
constexpr GuardTimes brisk{
    .heartbeat_seconds = 0.02, .stale_seconds = 0.4, .leaving_seconds = 0.2, .patience_seconds = 1};

GuardHolder elsewhere() {
  return {.host = "node17",
          .boot = "another-boot",
          .process = 4242,
          .start_ticks = 99,
          .attempt = "life-of-node17",
          .started = "2026-11-01 10:00:00"};
}

void write_guard(const std::filesystem::path& folder, const std::string& text, double age_seconds = 0) {
  std::ofstream(folder / "guard") << text;
  const auto now = std::filesystem::last_write_time(folder / "guard");
  std::filesystem::last_write_time(folder / "guard",
                                   now - std::chrono::milliseconds(static_cast<int>(age_seconds * 1000)));
}

std::string refusal(const std::filesystem::path& folder, GuardTimes times = brisk) {
  try {
    const RunGuard guard(folder, times);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

/// Touches a file as a holder elsewhere would.
class Heart {
 public:
  explicit Heart(const std::filesystem::path& guard)
      : thread_([guard](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            utimensat(AT_FDCWD, guard.c_str(), nullptr, 0);
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
          }
        }) {}

 private:
  std::jthread thread_;
};

TEST(GuardHolderTest, SurvivesItsText) {
  const GuardHolder me = GuardHolder::this_process();
  EXPECT_EQ(GuardHolder::parse(me.json()), me);
  EXPECT_GT(me.start_ticks, 0);
  EXPECT_NE(me.attempt, GuardHolder::this_process().attempt);
  for (const char* text : {"", "{", "{\"host\": 3}", "[]", "host"}) EXPECT_FALSE(GuardHolder::parse(text)) << text;
}

TEST(GuardHolderTest, AGuardOfTheEarlierVersionIsReadAndHasNoSpace) {
  const auto holder = GuardHolder::parse(
      R"({"host":"here","boot":"boot-2","process":9,"start_ticks":400,"life":"abc","started":"2026-11-01 10:00:00",)"
      R"("epoch":3,"job":"big/7","requeues":1})");
  ASSERT_TRUE(holder);
  EXPECT_EQ(holder->attempt, "abc");
  EXPECT_EQ(holder->epoch, 3);
  EXPECT_EQ(holder->space, "");
}

// This process's own identity: boot and PID namespace are known wherever the tests run.
TEST(GuardHolderTest, KnowsWhereItsNumberMeansSomething) {
  const GuardHolder me = GuardHolder::this_process();
  EXPECT_EQ(me.boot.size(), 36U) << me.boot;
  EXPECT_TRUE(me.space.starts_with("pid:[")) << me.space;
}

GuardHolder judged(std::string host, std::string boot, std::string space) {
  return {
      .host = std::move(host), .boot = std::move(boot), .process = 9, .start_ticks = 400, .space = std::move(space)};
}

SeenProcess started_at(std::int64_t ticks) { return {.runs = true, .start_ticks = ticks}; }

TEST(GuardHolderTest, IsJudgedByItsProcessWhereThatCanBeSeen) {
  const GuardHolder me = judged("here", "boot-2", "pid:[1]");
  EXPECT_EQ(judge(me, me, started_at(400)), HolderState::alive);
  EXPECT_EQ(judge(me, me, started_at(450)), HolderState::dead) << "the number was given to another process";
  EXPECT_EQ(judge(me, me, {}), HolderState::dead);
  EXPECT_EQ(judge(judged("renamed", "boot-2", "pid:[1]"), me, started_at(400)), HolderState::alive);
  EXPECT_EQ(judge(judged("renamed", "boot-2", "pid:[1]"), me, {}), HolderState::unknown);
}

TEST(GuardHolderTest, IsNotJudgedByAProcessThatMayBeAnother) {
  const GuardHolder me = judged("here", "boot-2", "pid:[1]");
  const std::vector<std::pair<GuardHolder, const char*>> others{
      {judged("here", "boot-2", "pid:[2]"), "a container under the same host name"},
      {judged("container", "boot-2", "pid:[2]"), "a container"},
      {judged("here", "boot-2", ""), "a guard of the earlier version"},
      {judged("here", "boot-1", "pid:[1]"), "two machines with one host name, or this one before it was started again"},
      {judged("there", "boot-1", "pid:[1]"), "another machine"}};
  for (const auto& [other, what] : others)
    for (const SeenProcess& seen : {SeenProcess{}, started_at(400), started_at(450)})
      EXPECT_EQ(judge(other, me, seen), HolderState::unknown) << what;
  const GuardHolder blind = judged("here", "", "");
  EXPECT_EQ(judge(blind, blind, {}), HolderState::unknown) << "who knows neither boot nor namespace sees nobody";
  EXPECT_EQ(judge(me, me, {.runs = true}), HolderState::unknown) << "/proc hides the processes of other users";
  GuardHolder unseen = me;
  unseen.start_ticks = 0;
  EXPECT_EQ(judge(unseen, me, started_at(400)), HolderState::unknown) << "it could not see itself";
}

TEST(GuardHolderTest, SeesProcesses) {
  const SeenProcess me = see_process(getpid());
  EXPECT_TRUE(me.runs);
  EXPECT_EQ(me.start_ticks, GuardHolder::this_process().start_ticks);
  for (const std::int64_t none : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40})
    EXPECT_FALSE(see_process(none).runs) << none;
}

GuardHolder of_job(std::string job, std::int64_t requeues) {
  GuardHolder holder = elsewhere();
  holder.job = std::move(job);
  holder.requeues = requeues;
  return holder;
}

TEST(GuardHolderTest, OnlyALaterLifeOfTheSameJobSupersedes) {
  EXPECT_TRUE(supersedes(of_job("big/7", 2), of_job("big/7", 1)));
  EXPECT_FALSE(supersedes(of_job("big/7", 1), of_job("big/7", 1)));
  EXPECT_FALSE(supersedes(of_job("big/7", 0), of_job("big/7", 1))) << "an orphan that comes late";
  EXPECT_FALSE(supersedes(of_job("big/7", 2), of_job("small/7", 1)));
  EXPECT_FALSE(supersedes(of_job("", 2), of_job("", 1))) << "without Slurm";
}

TEST(RunGuardTest, HoldsTheFolderForItsLifetime) {
  const TemporaryFolder folder;
  {
    const RunGuard guard(folder.path(), brisk);
    EXPECT_TRUE(guard.still_mine());
    EXPECT_NO_THROW(guard.ensure_mine());
    const std::string message = refusal(folder.path());
    EXPECT_NE(message.find(fmt::format("process {} on {}", getpid(), guard.holder().host)), std::string::npos)
        << message;
    EXPECT_NE(message.find("--run DIR"), std::string::npos);
    EXPECT_TRUE(guard.still_mine()) << "the refused one left it alone";
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "guard"));
  EXPECT_EQ(refusal(folder.path()), "");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(RunGuardTest, FollowsTheUmask) {
  for (const mode_t mask : {mode_t{0002}, mode_t{0077}}) {
    const TemporaryFolder folder;
    const mode_t before = umask(mask);
    const RunGuard guard(folder.path(), brisk);
    umask(before);
    struct stat status {};
    ASSERT_EQ(stat((folder.path() / "guard").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0666 & ~mask);
  }
}

TEST(RunGuardTest, TakesOverFromTheDead) {
  const TemporaryFolder folder;
  // A process that has been, and is gone.
  const pid_t child = fork();
  if (child == 0) _exit(0);
  GuardHolder gone = GuardHolder::this_process();
  waitpid(child, nullptr, 0);
  gone.process = child;
  write_guard(folder.path(), gone.json());
  const RunGuard guard(folder.path(), brisk);
  EXPECT_TRUE(guard.still_mine());
}

TEST(RunGuardTest, IsNeverEmpty) {
  const TemporaryFolder folder;
  std::atomic<int> seen{0}, empty{0};
  std::jthread reader([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::ifstream file(folder.path() / "guard");
      std::string text;
      if (!file.is_open()) continue;
      ++seen;
      if (!std::getline(file, text)) ++empty;
    }
  });
  for (int life = 0; life < 200; ++life) const RunGuard guard(folder.path(), brisk);
  reader.request_stop();
  reader.join();
  EXPECT_GT(seen, 0);
  EXPECT_EQ(empty, 0) << "of " << seen << " looks";
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(RunGuardTest, AGuardWithoutAHolderIsWaitedForAndTakenOver) {
  for (const char* text : {"", "garbage\n", "{\"host\": 3}\n"}) {
    const TemporaryFolder folder;
    write_guard(folder.path(), text);
    const RunGuard guard(folder.path(), brisk);
    EXPECT_TRUE(guard.still_mine()) << text;
  }
}

TEST(RunGuardTest, WithoutAHolderNobodyIsToBeKilled) {
  const TemporaryFolder folder;
  write_guard(folder.path(), "");
  std::jthread toucher([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::filesystem::last_write_time(folder.path() / "guard", std::filesystem::file_time_type::clock::now());
      usleep(20000);
    }
  });
  const std::string message = refusal(folder.path());
  EXPECT_NE(message.find("does not say who"), std::string::npos) << message;
  EXPECT_NE(message.find("--run DIR"), std::string::npos) << message;
  EXPECT_EQ(message.find("kill"), std::string::npos) << message;
}

TEST(RunGuardTest, WaitsForOneThatIsLeaving) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    // Like a rank of a killed job: it runs on for a moment and does not clean up.
    const RunGuard guard(folder.path(), brisk);
    usleep(300000);
    _exit(0);
  }
  while (!std::filesystem::exists(folder.path() / "guard")) usleep(1000);
  usleep(50000);
  GuardTimes patient = brisk;
  EXPECT_NE(refusal(folder.path(), {.heartbeat_seconds = 0.02, .leaving_seconds = 0.05}), "");
  patient.leaving_seconds = 20;
  EXPECT_EQ(refusal(folder.path(), patient), "");
  waitpid(child, nullptr, 0);
}

TEST(RunGuardTest, AnotherMachineIsJudgedByItsHeartbeat) {
  const TemporaryFolder folder;
  write_guard(folder.path(), elsewhere().json(), 100);
  EXPECT_EQ(refusal(folder.path()), "") << "not touched for long";

  write_guard(folder.path(), elsewhere().json());
  EXPECT_EQ(refusal(folder.path()), "") << "fresh, but touched no more while it was watched";

  write_guard(folder.path(), elsewhere().json());
  std::jthread heart([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      utimensat(AT_FDCWD, (folder.path() / "guard").c_str(), nullptr, 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  const std::string message = refusal(folder.path());
  EXPECT_NE(message.find("process 4242 on node17, since 2026-11-01 10:00:00"), std::string::npos) << message;
}

TEST(RunGuardTest, AContainerThatBeatsIsLeftAlone) {
  const TemporaryFolder folder;
  GuardHolder inside = GuardHolder::this_process();  // same host name and boot, and nobody has the number here
  inside.process = 1 << 22;
  inside.space = "pid:[1]";
  write_guard(folder.path(), inside.json());
  EXPECT_EQ(refusal(folder.path()), "") << "it beats no more";
  write_guard(folder.path(), inside.json());
  const Heart heart(folder.path() / "guard");
  const std::string message = refusal(folder.path());
  EXPECT_NE(message.find("`kill 4194304` in its container"), std::string::npos) << message;
}

TEST(RunGuardTest, ARebootCostsAWaitAndNoMore) {
  const TemporaryFolder folder;
  GuardHolder before = GuardHolder::this_process();
  before.boot = "the boot before";
  write_guard(folder.path(), before.json());
  EXPECT_EQ(refusal(folder.path()), "");
  write_guard(folder.path(), before.json());
  const Heart heart(folder.path() / "guard");
  EXPECT_NE(refusal(folder.path()), "") << "it is another machine of the same host name";
}

TEST(RunGuardTest, AGuardDatedInTheFutureIsStaleWhenItDoesNotMove) {
  const TemporaryFolder folder;
  write_guard(folder.path(), elsewhere().json(), -3600);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(refusal(folder.path()), "");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::duration<double>(brisk.patience_seconds));
}

TEST(RunGuardTest, AServersClockThatJumpedBackDoesNotHideAHeart) {
  const TemporaryFolder folder;
  write_guard(folder.path(), elsewhere().json(), -3600);
  std::jthread heart([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    utimensat(AT_FDCWD, (folder.path() / "guard").c_str(), nullptr, 0);  // an hour earlier than the file says
  });
  EXPECT_NE(refusal(folder.path(), {.heartbeat_seconds = 0.02, .patience_seconds = 30}), "");
}

TEST(RunGuardTest, AServersClockThatJumpsWhileAGuardIsWatchedMakesNobodyStale) {
  const TemporaryFolder folder;
  write_guard(folder.path(), elsewhere().json());
  std::jthread heart([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    write_guard(folder.path(), elsewhere().json(), 86400);  // a heartbeat by a clock that has jumped back by a day
  });
  EXPECT_NE(refusal(folder.path(), {.heartbeat_seconds = 0.02, .stale_seconds = 30}), "");
}

/// No file can be opened while this exists.
class NoDescriptorsLeft {
 public:
  NoDescriptorsLeft() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit none{.rlim_cur = 0, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptorsLeft() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(RunGuardTest, AGuardThatCannotBeOpenedIsNotGone) {
  if (test::sanitized) GTEST_SKIP() << "the sanitizers look at memory through a pipe";
  const TemporaryFolder folder;
  const RunGuard guard(folder.path(), brisk);
  std::string why;
  bool lost = false;
  {
    const NoDescriptorsLeft none;
    try {
      guard.ensure_mine();
    } catch (const FolderLost& error) {
      lost = true;
      why = error.what();
    } catch (const SystemError& error) {
      why = error.what();
    }
    usleep(100000);  // looks of the heart
  }
  EXPECT_FALSE(lost);
  EXPECT_NE(why.find("guard: cannot be read: Too many open files"), std::string::npos) << why;
  EXPECT_FALSE(guard.lost());
  EXPECT_NO_THROW(guard.ensure_mine());
  std::filesystem::remove(folder.path() / "guard");
  EXPECT_THROW(guard.ensure_mine(), FolderLost);
}

TEST(RunGuardTest, ItsTimeIsNotGoneEither) {
  if (test::sanitized) GTEST_SKIP() << "the sanitizers look at memory through a pipe";
  const TemporaryFolder folder;
  write_guard(folder.path(), "");
  const NoDescriptorsLeft none;
  EXPECT_THROW(changed_at(folder.path() / "guard"), SystemError);
  EXPECT_THROW(attempt_of_guard(folder.path()), SystemError);
}

/// The message of a start to a user who is not root.
int code_of_refusal_without_rights(const std::filesystem::path& folder) {
  constexpr uid_t nobody = 65534;
  if (geteuid() == 0 && setresuid(nobody, nobody, nobody) != 0) return 3;
  const std::string message = refusal(folder);
  if (message.find("guard: cannot be read: Permission denied: the run of another user") != std::string::npos) return 0;
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

TEST(RunGuardDeathTest, AGuardOfAnotherUserThatMayNotBeReadIsLeftAlone) {
  const TemporaryFolder folder;
  chmod(folder.path().c_str(), 0777);
  write_guard(folder.path(), elsewhere().json(), 100);
  chmod((folder.path() / "guard").c_str(), 0);
  EXPECT_EXIT(std::_Exit(code_of_refusal_without_rights(folder.path())), testing::ExitedWithCode(0), "");
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "guard"));
}

TEST(RunGuardTest, HalfWrittenGuardIsJudgedByItsAge) {
  const TemporaryFolder folder;
  write_guard(folder.path(), "{\"host\": \"no", 100);
  EXPECT_EQ(refusal(folder.path()), "");
}

TEST(RunGuardTest, KnowsThatItLostTheFolder) {
  const TemporaryFolder folder;
  {
    const RunGuard guard(folder.path(), brisk);
    std::filesystem::remove(folder.path() / "guard");
    EXPECT_FALSE(guard.still_mine());
    write_guard(folder.path(), elsewhere().json());
    EXPECT_FALSE(guard.still_mine());
    try {
      guard.ensure_mine();
      ADD_FAILURE() << "may not write any more";
    } catch (const SystemError& error) {
      EXPECT_NE(std::string(error.what()).find("node17"), std::string::npos) << error.what();
    }
  }
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "guard")) << "it is somebody else's";
}

// The first run attempt continues, on another machine as far as the second one can tell, and tries to write.
class TwoLives : public testing::Test {
 protected:
  static GuardHolder life(std::int64_t requeues) {
    GuardHolder holder = GuardHolder::this_process();
    holder.host = "node" + std::to_string(requeues);
    holder.boot = "boot" + std::to_string(requeues);
    holder.job = "big/7";
    holder.requeues = requeues;
    return holder;
  }

  std::filesystem::path begun(const std::string& name) const {
    const std::filesystem::path temporary = temporary_name(checkpoints_ / name);
    write_file(temporary, "of the first life");
    return temporary;
  }

  TemporaryFolder folder_;
  std::filesystem::path checkpoints_ = folder_.path() / "checkpoints";
  bool made_ = std::filesystem::create_directory(checkpoints_);
  RunGuard first_{folder_.path(), brisk, life(0)};
};

TEST_F(TwoLives, TheSecondTakesTheFolderAtOnceAndTheFirstLearnsOfIt) {
  const RunGuard second(folder_.path(), {.heartbeat_seconds = 0.02, .patience_seconds = 1e9}, life(1));
  EXPECT_EQ(second.holder().epoch, first_.holder().epoch + 1);
  EXPECT_TRUE(second.still_mine());
  for (int wait = 0; wait < 1000 && !first_.lost(); ++wait) usleep(10000);
  EXPECT_TRUE(first_.lost()) << "without having been asked to write";
  EXPECT_THROW(first_.ensure_mine(), SystemError);
  EXPECT_TRUE(second.still_mine());
  EXPECT_FALSE(second.lost());
}

TEST_F(TwoLives, WhatTheFirstHasBegunGetsNoNameAnyMore) {
  const std::filesystem::path temporary = begun("step-00000003.h5");
  first_.ensure_mine();  // and here the first run attempt is stopped for a while
  RunGuard second(folder_.path(), brisk, life(1));
  EXPECT_TRUE(std::filesystem::exists(temporary)) << "the second may still be refused";
  second.remove_what_others_began();
  EXPECT_THROW(publish(temporary, checkpoints_ / "step-00000003.h5"), SystemError);
  EXPECT_TRUE(std::filesystem::is_empty(checkpoints_));
}

TEST_F(TwoLives, WhatTheFirstWantedToRemoveStays) {
  write_file(checkpoints_ / "step-00000001.h5", "good");
  std::unique_ptr<RunGuard> second;
  const auto ask_and_be_stopped = [&] {
    first_.ensure_mine();
    second = std::make_unique<RunGuard>(folder_.path(), brisk, life(1));
    second->remove_what_others_began();
  };
  EXPECT_THROW(remove_guarded({checkpoints_ / "step-00000001.h5"}, ask_and_be_stopped), SystemError);
  EXPECT_TRUE(std::filesystem::exists(checkpoints_ / "step-00000001.h5"));
  remove_guarded({checkpoints_ / "step-00000001.h5"}, [&] { second->ensure_mine(); });
  EXPECT_TRUE(std::filesystem::is_empty(checkpoints_));
}

// Names and texts of all files in the folder.
std::map<std::string, std::string> files_in(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path());
    files[entry.path().string()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return files;
}

TEST_F(TwoLives, ASecondThatIsRefusedLeavesAllAsItWas) {
  begun("step-00000003.h5");
  write_file(checkpoints_ / "step-00000001.h5", "good");
  const auto before = files_in(folder_.path());
  for (int attempt = 1; attempt <= 2; ++attempt) {
    const RunGuard second(folder_.path(), brisk, life(attempt));
    EXPECT_EQ(second.holder().epoch, 2) << "after the same guard";
    EXPECT_NE(files_in(folder_.path()), before);
  }
  EXPECT_EQ(files_in(folder_.path()), before);
  {
    RunGuard second(folder_.path(), brisk, life(1));
    second.remove_what_others_began();
    EXPECT_EQ(files_in(folder_.path()).size(), 2U) << "its guard, and what was good";
  }
  EXPECT_EQ(files_in(folder_.path()).size(), 1U);
}

TEST_F(TwoLives, AFirstLifeThatDoesNotEndIsEnded) {
  GuardTimes soon = brisk;
  soon.ending_seconds = 0.05;
  const TemporaryFolder other;
  RunGuard stuck(other.path(), soon, life(0));
  std::atomic<bool> ended = false;
  stuck.end_by([&](const std::string& message) { ended = message.find("node1") != std::string::npos; });
  const RunGuard second(other.path(), brisk, life(1));
  for (int wait = 0; wait < 1000 && !ended; ++wait) usleep(10000);
  EXPECT_TRUE(ended);
}

TEST_F(TwoLives, AnEarlierLifeThatComesLateIsRefused) {
  const RunGuard second(folder_.path(), brisk, life(1));
  EXPECT_THROW(RunGuard(folder_.path(), brisk, life(0)), InputError);
  EXPECT_TRUE(second.still_mine());
}

TEST(RunGuardTest, ItsHeartBeats) {
  const TemporaryFolder folder;
  const RunGuard guard(folder.path(), brisk);
  const auto first = std::filesystem::last_write_time(folder.path() / "guard");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_GT(std::filesystem::last_write_time(folder.path() / "guard"), first);
}

TEST(RunGuardTest, FolderThatIsNotThereIsAnError) { EXPECT_THROW(RunGuard("/nowhere/at/all", brisk), SystemError); }

}  // namespace
}  // namespace penstock::run_guard_test
