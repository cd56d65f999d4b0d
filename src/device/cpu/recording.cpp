// SPDX-License-Identifier: Apache-2.0
#include "device/recording.hpp"

namespace penstock {

struct Recording::Backend {};

Recording::Recording(Queue&) {}
Recording::~Recording() = default;
Recording::Recording(Recording&&) noexcept = default;
Recording& Recording::operator=(Recording&&) noexcept = default;

void Recording::run(const std::function<void()>& work) { work(); }

}  // namespace penstock
