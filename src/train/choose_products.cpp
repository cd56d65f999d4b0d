// SPDX-License-Identifier: Apache-2.0
#include "train/choose_products.hpp"

#include "base/program_version.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "ops/linear_choices.hpp"

namespace penstock {

namespace {

// The choices that the checkpoint to go on from holds as an attribute. Files of earlier versions have no such
// attribute: then those of the run folder that holds the checkpoint. A damaged file is reported later, when it is
// loaded.
std::string choices_of_checkpoint(World& world, IoThread& io, const RunSession& session) {
  std::vector<std::filesystem::path> files;
  if (session.restarts_from_latest())
    for (const CheckpointFile& file : checkpoint_files(session.folder().checkpoints())) files.push_back(file.path);
  else if (session.restart())
    files.emplace_back(*session.restart());
  for (const std::filesystem::path& file : files) try {
      const auto look = [file](Progress&) { return info_of(ArrayReader(file, {checkpoint_format})).meta.products; };
      const std::string text =
          run_reading(io, file, wait_under(world, "reading the choices of products in " + file.string()), look);
      return text.empty() ? RunFolder::of_checkpoint(file).read_product_choices() : text;
    } catch (const std::exception&) {
      if (io.abandoned()) break;
    }
  return "";
}

ProductChoices known_or_measured(World& world, IoThread& io, const RunSession& session, const ModelPlan& plan,
                                 Queue& queue) {
  const std::vector<ops::LinearShape> shapes = linear_shapes(plan);
  const ops::LinearChoiceNames names = ops::linear_choice_names(shapes);
  ProductCache cache(users_cache_folder(), fmt::format("penstock {}\t{}", program_version(), names.origin));
  const std::string in_folder = session.folder().read_product_choices();
  try {
    return find_product_choices(
        names, {.folder = in_folder,
                .checkpoint = [&] { return choices_of_checkpoint(world, io, session); },
                .cache = &cache,
                .measure = [&](const auto& known) { return ops::measure_linear_choices(queue, shapes, known); },
                .check = [&](const auto& text) { return ops::measure_linear_choices(queue, {}, text); }});
  } catch (const InputError& error) {
    throw_input_error("{}: {}", session.folder().product_choices().string(), error.what());
  }
}

}  // namespace

ProductChoices choose_products(World& world, IoThread& io, const RunSession& session, const RunSetup& setup,
                               Queue& queue) {
  if (!setup.config().device.measure) return {};
  ProductChoices choices;
  world.together([&] {
    if (world.rank() == 0) choices = known_or_measured(world, io, session, setup.plan, queue);
  });
  choices.text = world.broadcast(choices.text);
  choices.sources = world.broadcast(choices.sources);
  world.together([&] {
    try {
      ops::use_linear_choices(queue, choices.text);
    } catch (const InputError& error) {
      throw_input_error("{} (the choices of products are {})", error.what(), choices.sources);
    }
  });
  return choices;
}

}  // namespace penstock
