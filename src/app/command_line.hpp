// SPDX-License-Identifier: Apache-2.0
#pragma once
// The command line: what stands on it, and which subcommand it asks for.

#include <functional>

namespace penstock {

/// A subcommand with all that it was asked for.
struct ChosenCommand {
  std::function<int()> run;   ///< returns the exit code, or throws; none where nothing is left to do
  bool prints_result = true;  ///< false: of training, which does not depend on what becomes of its output
  int exit_code = 0;          ///< where nothing is left to do: after --help and --version 0, after a mistake 2
};

/// Parses. Help, the version and mistakes are printed here.
ChosenCommand read_command_line(int argc, char** argv);

/// After a command that prints its result. Throws SystemError where the output could not be written.
void ensure_output_is_written();

/// Prints why a command has ended; its exit code: 2 the input is wrong, 1 anything else.
int report_failure(const std::exception& error);

}  // namespace penstock
