// SPDX-License-Identifier: Apache-2.0
#include "base/standard_files.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace penstock::standard_files_test {
namespace {

// 0, or which rule does not hold in a process where these descriptors are closed.
int broken_rule(bool closes_all) {
  if (closes_all) close(STDIN_FILENO), close(STDOUT_FILENO);
  close(STDERR_FILENO);
  const int before = fcntl(STDOUT_FILENO, F_GETFD);
  open_standard_files();
  if (open("/dev/null", O_RDONLY) <= STDERR_FILENO) return 1;
  if (write(STDERR_FILENO, "x", 1) != 1) return 2;
  if (closes_all && write(STDOUT_FILENO, "x", 1) != -1) return 3;
  if (!closes_all && fcntl(STDOUT_FILENO, F_GETFD) != before) return 4;
  return 0;
}

TEST(StandardFiles, ThatAreClosedAreNotGivenToOthers) {
  for (const bool closes_all : {true, false}) {
    const pid_t child = fork();
    if (child == 0) _exit(broken_rule(closes_all));
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "rule " << WEXITSTATUS(status);
  }
}

}  // namespace
}  // namespace penstock::standard_files_test
