// SPDX-License-Identifier: Apache-2.0
#include "transfer/model_import.hpp"

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/user_path.hpp"
#include "checkpoint/array_stream.hpp"
#include "checkpoint/checkpoint.hpp"
#include "exchange/hugging_face_model.hpp"
#include "plan/model_exchange.hpp"
#include "plan/model_section.hpp"
#include "storage/durable_file.hpp"

namespace penstock {

namespace {

void refuse_a_file_there(const std::filesystem::path& file, std::string_view option) {
  const std::filesystem::file_status status = status_of_path(file, "name another file");
  if (std::filesystem::exists(status))
    throw_input_error("{}: is there already; remove it, or name another file with {}", file.string(), option);
  const std::filesystem::path folder = absolute_path(file).parent_path();
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error))
    throw_input_error("{}: cannot be written: there is no folder {}; make it, or name another file with {}",
                      file.string(), folder.string(), option);
}

std::vector<ArraySpec> arrays_of(const HuggingFaceModel& model) {
  std::vector<ArraySpec> arrays;
  for (const ExchangedParameter& parameter : model.parameters())
    arrays.push_back({path_of(State::parameters, parameter.name), parameter.shape, DType::float32, {}, {}});
  return arrays;
}

void refuse_one_file_for_both(const ImportRequest& request) {
  const auto real = [](const std::filesystem::path& path) {
    return std::filesystem::weakly_canonical(absolute_path(path));
  };
  if (request.deck && real(request.output) == real(*request.deck))
    throw_input_error("import: {} is named for the checkpoint and for the deck; use two files", request.deck->string());
}

void write_section(const std::filesystem::path& file, const std::filesystem::path& directory,
                   const std::string& section) {
  const std::filesystem::path temporary = temporary_name(file);
  try {
    write_file(temporary,
               fmt::format("# The model of {}: put this section into a deck.\n{}", directory.string(), section));
    publish(temporary, file);
  } catch (const std::exception&) {
    discard(temporary);
    throw;
  }
}

std::uint64_t write_checkpoint(World& world, const HuggingFaceModel& model, const ImportRequest& request,
                               const std::string& section) {
  IoThread io;
  const CheckpointMeta meta{.deck = section, .has_moments = false};
  const auto fill = [&](std::size_t index, const Box& block, float* values) { model.read_box(index, block, values); };
  return stream_arrays(
      world, io,
      {.path = request.output, .attributes = checkpoint_attributes(meta), .arrays = arrays_of(model), .fill = fill});
}

}  // namespace

void import_model(World& world, const ImportRequest& request) {
  const auto start = Clock::now();
  std::optional<HuggingFaceModel> model;
  std::string section;
  world.together([&] {
    model.emplace(request.directory);
    section = model_section(model_config_of(model->config(), model->directory().config_path().string()));
    refuse_one_file_for_both(request);
    refuse_a_file_there(request.output, "-o");
    if (request.deck) refuse_a_file_there(*request.deck, "--deck");
  });
  world.together([&] { model->check_tied_head(world.rank(), world.size()); });
  std::uint64_t bytes = 0;
  world.together([&] {
    if (world.rank() != 0) return;
    bytes = write_checkpoint(world, *model, request, section);
    if (request.deck) write_section(*request.deck, request.directory, section);
  });
  log_info("{}: {:.1f} MB of parameters, from {} in {:.2f} s; a restart begins at step 0, with fresh moments",
           request.output.string(), static_cast<double>(bytes) * 1e-6, request.directory.string(),
           seconds_since(start));
}

}  // namespace penstock
