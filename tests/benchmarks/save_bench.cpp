// SPDX-License-Identifier: Apache-2.0
// How long saves take of a model that nobody has to train: one rank, made-up values, written as `penstock train` writes
// them where training waits. scripts/bench_exchange holds import and export against it.
//     bench.save DECK FOLDER SAVES
// writes the seconds of each to stdout; the last one stays as FOLDER/step-00000000.h5.

#include <fmt/format.h>

#include <cstdlib>
#include <vector>

#include "checkpoint/checkpoint.hpp"
#include "model/model_parameters.hpp"
#include "plan/model_section.hpp"

namespace penstock {
namespace {

int run(int argc, char** argv) {
  if (argc != 4) throw_input_error("bench.save: {} words; give DECK FOLDER SAVES", argc - 1);
  const ModelConfig config = read_model_section(Deck::load(argv[1]));
  const ModelDescription model = describe_model(config);
  const std::vector<ParameterSpec> specs =
      model_parameters(model, {}, balanced_partition(1, part_costs(model, config.positions)));
  const std::vector<ParameterLayout> layouts{ParameterLayout(specs, {.stages = {0}, .shard = false})};
  const std::vector<OwnedBox>& owned = layouts.front().owned();

  std::vector<std::size_t> first_of_box;  // each box has its own values, the three states share them
  std::size_t elements = 0;
  for (const OwnedBox& box : owned) {
    first_of_box.push_back(elements);
    elements += static_cast<std::size_t>(box.box.elements());
  }
  std::vector<float> values(elements);
  std::uint32_t random = 1;
  for (float& value : values) {
    random = random * 1664525 + 1013904223;
    value = static_cast<float>(random >> 8) * 0x1p-24F - 0.5F;
  }
  const auto memory = [&](State, const OwnedBox& box) {
    return values.data() + first_of_box[static_cast<std::size_t>(&box - owned.data())];
  };

  World world;
  if (world.size() != 1) throw_input_error("bench.save: {} ranks; start one", world.size());
  IoThread io;
  Writers writers(world, io, {});
  for (int save = 0; save < std::atoi(argv[3]); ++save) {
    const SaveOutcome outcome =
        save_checkpoint(world, writers, argv[2], {.deck = model_section(config)}, specs, layouts, memory);
    if (!outcome.ok) throw SystemError(outcome.message);
    fmt::print("{:.4f}\n", outcome.seconds);
  }
  return 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  try {
    return penstock::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return penstock::failure_of(error).exit_code;
  }
}
