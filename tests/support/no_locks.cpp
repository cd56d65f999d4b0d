// SPDX-License-Identifier: Apache-2.0
// Preloaded, it makes every file system one without fcntl locks, as Lustre is without `flock` and NFS without a lock
// daemon: asking for one gives ENOLCK.

#include <dlfcn.h>
#include <fcntl.h>

#include <cerrno>
#include <cstdarg>

namespace {

bool asks_for_a_lock(int command) {
  return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

int refuse_or_hand_on(const char* name, int file, int command, void* argument) {
  if (asks_for_a_lock(command)) {
    errno = ENOLCK;
    return -1;
  }
  using Fcntl = int (*)(int, int, void*);
  return reinterpret_cast<Fcntl>(dlsym(RTLD_NEXT, name))(file, command, argument);
}

void* argument_of(std::va_list list) { return va_arg(list, void*); }

}  // namespace

extern "C" {

int fcntl(int file, int command, ...) {
  std::va_list list;
  va_start(list, command);
  void* argument = argument_of(list);
  va_end(list);
  return refuse_or_hand_on("fcntl", file, command, argument);
}

int fcntl64(int file, int command, ...) {
  std::va_list list;
  va_start(list, command);
  void* argument = argument_of(list);
  va_end(list);
  return refuse_or_hand_on("fcntl64", file, command, argument);
}

}  // extern "C"
