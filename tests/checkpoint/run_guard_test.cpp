// Two lives in one folder: who is let in, who is not, and who lost the folder meanwhile.

#include "checkpoint/run_guard.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <fstream>

#include "base/error.hpp"
#include "checkpoint/temporary_folder.hpp"

namespace penstock {
namespace {

// Times that a test can wait for.
constexpr GuardTimes brisk{
    .heartbeat_seconds = 0.02, .stale_seconds = 0.4, .leaving_seconds = 0.2, .patience_seconds = 1};

GuardHolder elsewhere() { return {"node17", "another-boot", 4242, 99, "life-of-node17", "2026-11-01 10:00:00"}; }

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

TEST(GuardHolderTest, SurvivesItsText) {
  const GuardHolder me = GuardHolder::this_process();
  EXPECT_EQ(GuardHolder::parse(me.json()), me);
  EXPECT_GT(me.start_ticks, 0);
  EXPECT_NE(me.life, GuardHolder::this_process().life);
  for (const char* text : {"", "{", "{\"host\": 3}", "[]", "host"}) EXPECT_FALSE(GuardHolder::parse(text)) << text;
}

TEST(GuardHolderTest, IsJudgedByBootProcessAndHost) {
  const GuardHolder me{"here", "boot-2", 10, 500, "mine", ""};
  EXPECT_EQ(judge({"here", "boot-2", 9, 400, "", ""}, me, 400), HolderState::alive);
  EXPECT_EQ(judge({"here", "boot-2", 9, 400, "", ""}, me, 450), HolderState::dead)
      << "the number was given to another process";
  EXPECT_EQ(judge({"here", "boot-2", 9, 400, "", ""}, me, std::nullopt), HolderState::dead);
  EXPECT_EQ(judge({"here", "boot-1", 9, 400, "", ""}, me, 400), HolderState::dead) << "the machine was started again";
  EXPECT_EQ(judge({"there", "boot-1", 9, 400, "", ""}, me, 400), HolderState::unknown);
  EXPECT_EQ(judge({"container", "boot-2", 9, 400, "", ""}, me, std::nullopt), HolderState::unknown);
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

TEST(RunGuardTest, WaitsForOneThatIsLeaving) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    // Like a rank of a killed job: it goes on for a moment and does not clean up.
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

TEST(RunGuardTest, ItsHeartBeats) {
  const TemporaryFolder folder;
  const RunGuard guard(folder.path(), brisk);
  const auto first = std::filesystem::last_write_time(folder.path() / "guard");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_GT(std::filesystem::last_write_time(folder.path() / "guard"), first);
}

TEST(RunGuardTest, FolderThatIsNotThereIsAnError) { EXPECT_THROW(RunGuard("/nowhere/at/all", brisk), SystemError); }

}  // namespace
}  // namespace penstock
