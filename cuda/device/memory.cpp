// SPDX-License-Identifier: Apache-2.0
#include "device/memory.hpp"

#include <algorithm>

#include "device/check.hpp"

namespace penstock {

namespace {

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

DeviceMemory::DeviceMemory(std::size_t bytes) : OwnedBytes(bytes) {
  if (bytes == 0) return;
  void* memory = nullptr;
  const cudaError_t code = cudaMalloc(&memory, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t left = 0, all = 0;
    cudaMemGetInfo(&left, &all);
    throw SystemError(
        fmt::format("out of device memory: {:.1f} MiB were wanted in one piece, {:.1f} MiB of the device's {:.1f} MiB "
                    "are free; use a smaller batch.micro, or more ranks (`penstock check` foretells the memory)",
                    mebibytes(bytes), mebibytes(left), mebibytes(all)));
  }
  check_cuda(code);
  data_ = static_cast<std::byte*>(memory);
  check_cuda(cudaMemset(memory, 0, bytes));
  // Streams that use the memory do not wait for the default stream.
  check_cuda(cudaDeviceSynchronize());
}

DeviceMemory::~DeviceMemory() {
  if (data_) cudaFree(data_);
}

HostMemory::HostMemory(std::size_t bytes) : OwnedBytes(bytes) {
  if (bytes == 0) return;
  void* memory = nullptr;
  const cudaError_t code = cudaMallocHost(&memory, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw SystemError(
        fmt::format("out of host memory: {:.1f} MiB of pinned memory were wanted, to stage the state of this rank for "
                    "checkpoints; start fewer ranks a node, or raise the job's memory",
                    mebibytes(bytes)));
  }
  check_cuda(code);
  data_ = static_cast<std::byte*>(memory);
  std::fill_n(data_, bytes, std::byte{0});
}

HostMemory::~HostMemory() {
  if (data_) cudaFreeHost(data_);
}

}  // namespace penstock
