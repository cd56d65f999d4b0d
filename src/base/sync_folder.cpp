// SPDX-License-Identifier: Apache-2.0
#include "base/sync_folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.hpp"

namespace penstock {

void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path name = folder.empty() ? std::filesystem::path(".") : folder;
  const int descriptor = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  // Some file systems do not support fsync of a folder (EINVAL): there a rename is as durable as they can make it.
  if (!synced && error != EINVAL)
    throw SystemError(fmt::format("{}: cannot be written to the device: {}", name.string(), std::strerror(error)));
}

}  // namespace penstock
