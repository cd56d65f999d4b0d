// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs another program and waits for it. A training run blocks signals (run/stop_request), and children inherit what a
// process blocks. These programs get an empty mask, so that signals can end them and they can wait for children of
// their own.

#include <string>
#include <vector>

namespace penstock {

/// Runs `words` (the program is searched in PATH). Its output goes where this process's goes. Empty if it returned 0,
/// otherwise the reason: "exit code 3", "killed by signal 9", or the system's reason.
std::string run_program(const std::vector<std::string>& words);

/// What `words` writes to its standard output, whatever it returned. Its standard input and standard error are
/// /dev/null.
std::string output_of_program(const std::vector<std::string>& words);

}  // namespace penstock
