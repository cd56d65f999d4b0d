// SPDX-License-Identifier: Apache-2.0
#pragma once
// Operations that are compiled for both vector widths (src/CMakeLists.txt), and how a call reaches the one in use.
//
// Such a file defines its operations in penstock::ops::lanes_8 or penstock::ops::lanes_16, as it is compiled, and ends
// with a line for each, which defines the function of ops/<operation>.hpp:
//
//   PENSTOCK_OPERATION(gelu, Gelu)

#include "device/cpu/vector_lanes.hpp"
#include "device/queue.hpp"
#include "ops/cpu/vector_math.hpp"

/// void name(Queue&, const Arguments&)
#define PENSTOCK_OPERATION(name, Arguments) \
  PENSTOCK_FUNCTION(void, name, (Queue & queue, const Arguments& arguments), (queue, arguments))

#if !defined PENSTOCK_BOTH_WIDTHS
#define PENSTOCK_FUNCTION(Result, name, parameters, arguments)      \
  namespace penstock::ops {                                         \
  Result name parameters { return PENSTOCK_WIDTH::name arguments; } \
  }
#elif defined __AVX512F__
#define PENSTOCK_FUNCTION(Result, name, parameters, arguments)  // the file compiled for 8 lanes defines it
#else
#define PENSTOCK_FUNCTION(Result, name, parameters, arguments)                                                 \
  namespace penstock::ops::lanes_16 {                                                                          \
  Result name parameters;                                                                                      \
  }                                                                                                            \
  namespace penstock::ops {                                                                                    \
  Result name parameters { return vector_lanes() == 16 ? lanes_16::name arguments : lanes_8::name arguments; } \
  }
#endif
