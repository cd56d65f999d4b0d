// SPDX-License-Identifier: Apache-2.0
#include "device/check.hpp"

namespace penstock {

namespace {

/// What to do about the errors that users meet; empty for the others.
std::string_view cure(cudaError_t code) {
  switch (code) {
    case cudaErrorNoKernelImageForDevice:
      return "; this program was not compiled for this GPU: rebuild with -DCMAKE_CUDA_ARCHITECTURES=<its compute "
             "capability, say 90>";
    case cudaErrorDevicesUnavailable:
      return "; another process holds the GPU for itself (nvidia-smi -q -d COMPUTE tells), or it is being reset";
    case cudaErrorECCUncorrectable:
    case cudaErrorContained:
      return "; the GPU's memory has failed: leave this node out, and tell its administrators";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
      return "; a kernel has failed: start again with CUDA_LAUNCH_BLOCKING=1 to see which one, and report it";
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
      return "; the driver's services on this node are not in order (nvidia-fabricmanager, or a driver that was "
             "updated "
             "without a restart)";
    default:
      return "";
  }
}

}  // namespace

void throw_cuda_error(cudaError_t code, std::source_location where) {
  throw SystemError(fmt::format("{}:{}: CUDA: {} ({}){}", where.file_name(), where.line(), cudaGetErrorString(code),
                                cudaGetErrorName(code), cure(code)));
}

}  // namespace penstock
