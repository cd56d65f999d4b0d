// SPDX-License-Identifier: Apache-2.0
// The subcommands that take models in and out: import and export.

#include "app/collective_command.hpp"
#include "app/commands.hpp"
#include "plan/memory_text.hpp"

namespace penstock {

int import_command(const ImportRequest& request) {
  return run_collectively([&](World& world) {
    import_model(world, request);
    world.barrier();
    return 0;
  });
}

int export_command(const ExportCommand& command) {
  return run_collectively([&](World& world) {
    ExportRequest request{.source = command.source, .target = command.target, .type = {}, .like = command.like};
    if (command.type) request.type = *command.type == "bfloat16" ? DType::bfloat16 : DType::float32;
    world.together([&] {
      if (command.shard_size) request.shard_bytes = parse_file_bytes(*command.shard_size);
    });
    export_model(world, request);
    world.barrier();
    return 0;
  });
}

}  // namespace penstock
