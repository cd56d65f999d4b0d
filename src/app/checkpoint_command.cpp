#include <cstdio>

#include "app/commands.hpp"

namespace penstock {

int checkpoint_command(const CheckpointCommand& command) {
  throw_input_error("checkpoint {}: not known", command.verb);
}

}  // namespace penstock
