// SPDX-License-Identifier: Apache-2.0
#pragma once
// Every call of the CUDA runtime is checked here.

#include <cuda_runtime_api.h>

#include <source_location>

#include "base/error.hpp"

namespace penstock {

/// Throws SystemError with the place and CUDA's own words.
[[noreturn]] void throw_cuda_error(cudaError_t code, std::source_location where);

/// Throws SystemError with the place and CUDA's own words unless `code` is cudaSuccess.
inline void check_cuda(cudaError_t code, std::source_location where = std::source_location::current()) {
  if (code != cudaSuccess) [[unlikely]]
    throw_cuda_error(code, where);
}

/// After the launch of a kernel: throws if it could not be launched.
inline void check_launch(std::source_location where = std::source_location::current()) {
  check_cuda(cudaGetLastError(), where);
}

}  // namespace penstock
