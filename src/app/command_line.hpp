// SPDX-License-Identifier: Apache-2.0
#pragma once
// The command line: its options, which subcommand runs, and how the program ends.

namespace penstock {

/// Parses and runs. Exit codes: 0 done; 2 the input is wrong; 75 stopped on request, saved; 1 anything else.
int run_command_line(int argc, char** argv);

}  // namespace penstock
