// SPDX-License-Identifier: Apache-2.0
// The subcommand `status`.

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/commands.hpp"
#include "app/json_text.hpp"
#include "run/run_status.hpp"

namespace penstock {

void status_command(const StatusCommand& command) {
  IoThread io;
  try {
    const RunStatus status = read_status(io, command.run);
    fmt::print("{}", command.get    ? json_lines(json_of(status), *command.get)
                     : command.json ? json_text(json_of(status)) + "\n"
                                    : text_of(status));
  } catch (const InputError& error) {
    if (!io.abandoned()) throw;
    std::fprintf(stderr, "penstock: %s\n", error.what());  // HDF5 loops in a damaged file; that thread cannot be ended
    std::fflush(nullptr);
    _exit(2);
  }
}

}  // namespace penstock
