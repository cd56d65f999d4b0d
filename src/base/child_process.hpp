// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs another program and waits for it. A training run blocks signals (run/stop_request), and what a process blocks
// its children inherit: these programs get an empty mask, so that they can be ended and can wait for children of their
// own.

#include <string>
#include <vector>

namespace penstock {

/// Runs `words` (the program is looked for in PATH). Its output goes where this process's goes. Empty where it returned
/// 0, else why not: "exit code 3", "killed by signal 9", or the system's reason.
std::string run_program(const std::vector<std::string>& words);

/// What `words` writes to its standard output, whatever it returned. Its standard input and standard error are
/// /dev/null.
std::string output_of_program(const std::vector<std::string>& words);

}  // namespace penstock
