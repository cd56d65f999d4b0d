// SPDX-License-Identifier: Apache-2.0
#include "base/child_process.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace penstock {

namespace {

class SpawnAttributes {
 public:
  SpawnAttributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
  }
  ~SpawnAttributes() { posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

class SpawnFiles {
 public:
  SpawnFiles() { posix_spawn_file_actions_init(&actions_); }
  ~SpawnFiles() { posix_spawn_file_actions_destroy(&actions_); }
  SpawnFiles(const SpawnFiles&) = delete;
  SpawnFiles& operator=(const SpawnFiles&) = delete;
  void give(int descriptor, int as) { posix_spawn_file_actions_adddup2(&actions_, descriptor, as); }
  void open_null(int as) { posix_spawn_file_actions_addopen(&actions_, as, "/dev/null", O_RDWR, 0); }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

// 0, or why it could not be started.
int spawn(pid_t& process, const std::vector<std::string>& words, const SpawnFiles& files) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const SpawnAttributes attributes;
  return posix_spawnp(&process, arguments[0], files.get(), attributes.get(), arguments.data(), environ);
}

// 0, or why the process could not be waited for.
int wait_for(pid_t process, int& status) {
  while (waitpid(process, &status, 0) < 0)
    if (errno != EINTR) return errno;
  return 0;
}

std::string read_to_the_end(int descriptor) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t length = read(descriptor, buffer, sizeof buffer);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(length));
  }
}

}  // namespace

std::string run_program(const std::vector<std::string>& words) {
  pid_t process = 0;
  if (const int reason = spawn(process, words, SpawnFiles()); reason != 0) return std::strerror(reason);
  int status = 0;
  if (const int reason = wait_for(process, status); reason != 0) return std::strerror(reason);
  if (WIFSIGNALED(status)) return fmt::format("killed by signal {}", WTERMSIG(status));
  return WEXITSTATUS(status) == 0 ? "" : fmt::format("exit code {}", WEXITSTATUS(status));
}

std::string output_of_program(const std::vector<std::string>& words) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return "";
  SpawnFiles files;
  files.open_null(STDIN_FILENO);
  files.give(ends[1], STDOUT_FILENO);
  files.open_null(STDERR_FILENO);
  pid_t process = 0;
  const int reason = spawn(process, words, files);
  close(ends[1]);
  const std::string text = reason == 0 ? read_to_the_end(ends[0]) : "";
  close(ends[0]);
  int status = 0;
  if (reason == 0) wait_for(process, status);
  return text;
}

}  // namespace penstock
