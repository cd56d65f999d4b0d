// SPDX-License-Identifier: Apache-2.0
// The program: subcommands of one binary.

#include "app/command_line.hpp"

int main(int argc, char** argv) { return penstock::run_command_line(argc, argv); }
