// SPDX-License-Identifier: Apache-2.0
#pragma once
// Counts what a program takes from the heap and, as DeviceMemory does, in pages from the system. Linking
// allocations.cpp replaces malloc and its family in the whole program, libraries included; operator new comes through
// malloc. With the linker's option --wrap=mmap it replaces mmap where this program's own code calls it.

#include <cstddef>
#include <string>

namespace penstock::test {

/// Whose an allocation is: the code that asked for it, seen through the C and C++ libraries.
enum class Owner { penstock, onednn, mpi, openmp, other };

struct Allocations {
  std::size_t penstock = 0;  ///< by this program's own code
  std::size_t onednn = 0;
  std::size_t mpi = 0;  ///< MPI and the libraries below it
  std::size_t openmp = 0;
  std::size_t other = 0;
  std::size_t largest = 0;  ///< bytes, of those by this program's own code
  std::string first;        ///< the stack of the program's first one, addresses for addr2line
};

/// Between `start` and `stop` every allocation of the calling thread is counted. (Threads outside the steps, such as
/// the heartbeat's, are not.)
void start_counting_allocations();
Allocations stop_counting_allocations();

}  // namespace penstock::test
