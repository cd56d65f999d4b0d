// SPDX-License-Identifier: Apache-2.0
#include "comm/communicators.hpp"

#include <fmt/ranges.h>

namespace penstock {

Communicators::Communicators(World& world, Queue& queue, const Mesh& mesh, const std::vector<AxisSet>& sets)
    : mesh_(mesh), all_(world, queue, mesh, AxisSet::of(mesh.axes())) {
  for (const Axis& axis : mesh.axes()) make({axis.name});
  for (const AxisSet& axes : sets) make(axes);
}

void Communicators::make(const AxisSet& axes) {
  std::vector<std::string> spanned = mesh_.spanned(axes);
  if (!groups_.contains(spanned)) groups_.emplace(std::move(spanned), all_.split(mesh_, axes));
}

Communicator& Communicators::group(const AxisSet& axes) {
  const auto found = groups_.find(mesh_.spanned(axes));
  if (found == groups_.end())
    throw LogicError(fmt::format("no communicator along the axes {} was made", fmt::join(axes, ", ")));
  return found->second;
}

std::uint64_t Communicators::bytes_sent() const {
  std::uint64_t bytes = all_.bytes_sent();
  for (const auto& [axes, group] : groups_) bytes += group.bytes_sent();
  return bytes;
}

}  // namespace penstock
