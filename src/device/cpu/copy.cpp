// SPDX-License-Identifier: Apache-2.0
#include "device/copy.hpp"

#include <algorithm>
#include <cstring>

namespace penstock {

void copy_on_device(Queue&, const void* from, void* to, std::size_t bytes) {
  if (bytes > 0) std::memmove(to, from, bytes);
}

void copy_to_host(Queue&, const void* device, void* host, std::size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

struct HostMirror::Staging {
  HostMemory copy;
};

HostMirror::HostMirror() = default;
HostMirror::HostMirror(void* device, std::size_t bytes) : device_(static_cast<std::byte*>(device)), bytes_(bytes) {}
HostMirror::~HostMirror() = default;
HostMirror::HostMirror(HostMirror&&) noexcept = default;
HostMirror& HostMirror::operator=(HostMirror&&) noexcept = default;

void HostMirror::publish(Queue&) const {}

void HostMirror::prepare_staging() { staging_ = std::make_unique<Staging>(HostMemory(device_ ? bytes_ : 0)); }

std::size_t HostMirror::host_bytes(std::size_t bytes, bool staging) { return staging ? bytes : 0; }

void HostMirror::stage(Queue& queue) {
  constexpr std::size_t piece = std::size_t{4} << 20;
  if (!staging_ || !staging_->copy.data()) return;
  const auto pieces = static_cast<std::ptrdiff_t>((bytes_ + piece - 1) / piece);
#pragma omp parallel for num_threads(queue.threads()) schedule(static)
  for (std::ptrdiff_t p = 0; p < pieces; ++p) {
    const std::size_t begin = static_cast<std::size_t>(p) * piece;
    std::memcpy(staging_->copy.data() + begin, device_ + begin, std::min(piece, bytes_ - begin));
  }
}

void HostMirror::hold_for_staging(Queue&) const {}
bool HostMirror::is_staged() const { return true; }
const std::byte* HostMirror::staged() const {
  return staging_ && staging_->copy.data() ? staging_->copy.data() : data();
}

}  // namespace penstock
