// SPDX-License-Identifier: Apache-2.0
// Preloaded into the program by a test: a machine whose driver is older than the toolkit.

#include <cuda_runtime_api.h>

extern "C" cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return cudaErrorInsufficientDriver;
}

extern "C" cudaError_t cudaDriverGetVersion(int* version) {
  *version = 11040;
  return cudaSuccess;
}
