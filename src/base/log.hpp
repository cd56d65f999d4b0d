#pragma once
// Log lines go to stderr, through one spdlog logger; rank 0 speaks, the others only when something is wrong.

#include <spdlog/spdlog.h>

namespace penstock {

/// Sets the process's logger up: lines on stderr, information from rank 0 only, warnings and errors from every rank
/// with its number in front.
void start_log(int rank, int world_size);

}  // namespace penstock
