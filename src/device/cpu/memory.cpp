// SPDX-License-Identifier: Apache-2.0
#include "device/memory.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "base/error.hpp"

namespace penstock {

// Anonymous pages: zeroed by the system, and counted as held only once they are touched.
DeviceMemory::DeviceMemory(std::size_t bytes) : OwnedBytes(bytes) {
  if (bytes == 0) return;
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED)
    throw SystemError(
        fmt::format("out of memory: {} bytes ({:.1f} MiB) were wanted in one piece and the system refused; "
                    "use a smaller batch.micro, or more ranks",
                    bytes, static_cast<double>(bytes) / (1 << 20)));
  if (bytes >= (std::size_t{4} << 20))
    madvise(pages, bytes, MADV_HUGEPAGE);  // a hint: fewer page faults and TLB misses
  data_ = static_cast<std::byte*>(pages);
}

HostMemory::HostMemory(std::size_t bytes) : OwnedBytes(bytes) {
  constexpr std::size_t alignment = 256;
  if (bytes == 0) return;
  const std::size_t padded = (bytes + alignment - 1) / alignment * alignment;
  data_ = static_cast<std::byte*>(std::aligned_alloc(alignment, padded));
  if (!data_) throw SystemError(fmt::format("out of memory: {} bytes were wanted", bytes));
  std::memset(data_, 0, padded);
}

HostMemory::~HostMemory() { std::free(data_); }

DeviceMemory::~DeviceMemory() {
  if (data_) munmap(data_, bytes_);
}

}  // namespace penstock
