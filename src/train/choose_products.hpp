// SPDX-License-Identifier: Apache-2.0
#pragma once
// How this run's products are made, found or measured on the device (run/product_choices.hpp is the part without one).

#include "checkpoint/io_thread.hpp"
#include "device/queue.hpp"
#include "run/product_choices.hpp"
#include "run/run_session.hpp"
#include "train/set_up_run.hpp"

namespace penstock {

/// Collective: rank 0 decides once in a run for all, as another choice would change bits, and `queue` uses it from then
/// on. Measuring needs the device's memory for a while, so this comes before the arena. Empty where device.measure is
/// false. Throws CollectiveFailure.
ProductChoices choose_products(World& world, IoThread& io, const RunSession& session, const RunSetup& setup,
                               Queue& queue);

}  // namespace penstock
