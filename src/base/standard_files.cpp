// SPDX-License-Identifier: Apache-2.0
#include "base/standard_files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

namespace penstock {

namespace {

bool is_closed(int descriptor) { return fcntl(descriptor, F_GETFD) < 0 && errno == EBADF; }

}  // namespace

// open() returns the lowest free number. A closed standard output stays unwritable: a command whose result is lost must
// fail.
void open_standard_files() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (!is_closed(descriptor)) continue;
    const int mode = descriptor == STDOUT_FILENO ? O_RDONLY : O_RDWR;
    if (open("/dev/null", mode) < 0) open("/", O_PATH);  // without /dev: whatever keeps the number taken
  }
}

}  // namespace penstock
