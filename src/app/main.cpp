// SPDX-License-Identifier: Apache-2.0
// The program: subcommands of one binary. Exit codes: 0 done; 2 the input is wrong; 75 stopped on request, saved; 1
// anything else.

#include "app/command_line.hpp"
#include "base/standard_files.hpp"

int main(int argc, char** argv) {
  penstock::open_standard_files();
  try {
    const penstock::ChosenCommand chosen = penstock::read_command_line(argc, argv);
    if (!chosen.run) return chosen.exit_code;
    const int code = chosen.run();
    if (chosen.prints_result) penstock::ensure_output_is_written();
    return code;
  } catch (const std::exception& error) {
    return penstock::report_failure(error);
  }
}
