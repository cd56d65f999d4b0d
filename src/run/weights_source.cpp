// SPDX-License-Identifier: Apache-2.0
#include "run/weights_source.hpp"

#include <algorithm>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/user_path.hpp"
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "exchange/hugging_face_model.hpp"
#include "plan/model_exchange.hpp"
#include "plan/model_section.hpp"

namespace penstock {

namespace {

constexpr std::string_view name_weights =
    "name a Hugging Face directory (with config.json), a checkpoint, or a run folder with checkpoints";
constexpr std::int64_t elements_at_once = std::int64_t{16} << 20;  // between two reports of progress

WeightsSource in_directory(const std::filesystem::path& path) {
  const HuggingFaceModel model(path);
  const std::string place = model.directory().config_path().string();
  return {WeightsSource::Kind::directory, path, model_config_of(model.config(), place), place};
}

WeightsSource in_checkpoint(IoThread& io, const WaitUntil& wait, const std::filesystem::path& file) {
  const auto look = [file](Progress&) { return info_of(ArrayReader(file, {checkpoint_format})).meta.deck; };
  const std::string place = file.string() + ", attribute deck";
  const std::string deck = run_reading(io, file, wait, look);
  return {WeightsSource::Kind::checkpoint, file, read_model_section(Deck::parse(deck, place)), place};
}

// Which of them is whole shows when the weights are read; all are of one model.
WeightsSource in_run_folder(IoThread& io, const WaitUntil& wait, const std::filesystem::path& checkpoints) {
  std::string reasons;
  for (const CheckpointFile& file : checkpoint_files(checkpoints)) try {
      WeightsSource source = in_checkpoint(io, wait, file.path);
      source.kind = WeightsSource::Kind::run_folder;
      source.path = checkpoints;
      return source;
    } catch (const CannotOpen&) {
      throw;
    } catch (const InputError& error) {
      if (io.abandoned()) throw;
      reasons += fmt::format("\n  {}", error.what());
    }
  if (reasons.empty())
    throw_input_error("{}: holds neither config.json nor checkpoints; {}", checkpoints.string(), name_weights);
  throw_input_error("{}: holds no whole checkpoint; name other weights:{}", checkpoints.string(), reasons);
}

std::string_view word_of(WeightsSource::Kind kind) {
  switch (kind) {
    case WeightsSource::Kind::directory:
      return "directory";
    case WeightsSource::Kind::checkpoint:
      return "checkpoint";
    case WeightsSource::Kind::run_folder:
      break;
  }
  return "run folder";
}

WeightsSource::Kind kind_of(std::string_view word) {
  for (const auto kind : {WeightsSource::Kind::directory, WeightsSource::Kind::checkpoint})
    if (word == word_of(kind)) return kind;
  return WeightsSource::Kind::run_folder;
}

// Rank 0 has checked it before, but the directory may have changed since.
void ensure_found(const HuggingFaceModel& model, const WeightsSource& source) {
  if (model.config() != hugging_face_config_of(source.model))
    throw_input_error("{}: was changed while it was read; try again when nobody writes there", source.model_place);
}

std::uint64_t stored_bytes(const ModelDirectory& directory) {
  std::uint64_t bytes = 0;
  for (const PlacedTensor& placed : directory.tensors()) bytes += placed.tensor->end - placed.tensor->begin;
  return bytes;
}

// Returns the bytes of all tensors.
std::uint64_t read_directory(World& world, const WeightsSource& source, const ParameterSet& parameters) {
  const HuggingFaceModel model(source.path);
  ensure_found(model, source);
  model.check_tied_head(world.rank(), world.size());
  for (const OwnedBox& owned : parameters.layout().owned()) {
    const auto index = model.find(parameters.specs()[owned.parameter].name);
    ensure(index.has_value(), "read_directory: a parameter that the directory's table does not have");
    for (const Box& block : row_blocks(owned.box, elements_at_once)) {
      model.read_box(*index, block, parameters.master(owned) + block.local_begin);
      world.moved();
    }
    std::fill_n(parameters.first_moment(owned), owned.box.elements(), 0.0F);
    std::fill_n(parameters.second_moment(owned), owned.box.elements(), 0.0F);
  }
  return stored_bytes(model.directory());
}

std::uint64_t bytes_of_parameters(const ParameterSet& parameters) {
  std::uint64_t bytes = 0;
  for (const ParameterSpec& spec : parameters.specs())
    bytes += static_cast<std::uint64_t>(spec.shape.elements()) * bytes_of(DType::float32);
  return bytes;
}

}  // namespace

WeightsSource find_weights(IoThread& io, const WaitUntil& wait, const std::filesystem::path& path) {
  const std::filesystem::file_status status = status_of_path(path, name_weights);
  if (!std::filesystem::exists(status)) throw_input_error("{}: does not exist; {}", path.string(), name_weights);
  if (!std::filesystem::is_directory(status)) return in_checkpoint(io, wait, path);
  std::error_code error;
  if (std::filesystem::exists(path / "config.json", error)) return in_directory(path);
  const std::filesystem::path checkpoints = path / "checkpoints";
  return in_run_folder(io, wait, std::filesystem::is_directory(checkpoints, error) ? checkpoints : path);
}

WeightsSource find_weights(World& world, const std::filesystem::path& path) {
  WeightsSource source;
  world.together([&] {
    if (world.rank() != 0) return;
    IoThread io;
    source = find_weights(io, wait_under(world, "looking at " + path.string()), path);
  });
  source.kind = kind_of(world.broadcast(std::string(word_of(source.kind))));
  source.path = world.broadcast(source.path.string());
  source.model_place = world.broadcast(source.model_place);
  const std::string model = world.broadcast(world.rank() == 0 ? model_section(source.model) : "");
  source.model = read_model_section(Deck::parse(model, source.model_place));
  return source;
}

WholeCheckpoint whole_checkpoint(World& world, IoThread& io, const WeightsSource& source) {
  ensure(source.kind != WeightsSource::Kind::directory, "whole_checkpoint: of a checkpoint or a run folder");
  if (source.kind == WeightsSource::Kind::checkpoint) return {source.path, false};
  const Latest latest = find_latest(world, io, source.path);
  std::string reasons;
  for (const Latest::PassedOver& passed : latest.passed_over) {
    if (latest.file && world.rank() == 0) log_warning("passed over {}", passed.why);
    reasons += "\n  " + passed.why;
  }
  if (!latest.file)
    throw CollectiveFailure(
        {2, fmt::format("{}: holds no whole checkpoint; name other weights:{}", source.path.string(), reasons)});
  return {latest.file->path, true};
}

void load_weights(World& world, IoThread& io, const WeightsSource& source, const ParameterSet& parameters) {
  const auto start = Clock::now();
  std::filesystem::path from = source.path;
  std::uint64_t bytes = 0;
  if (source.kind == WeightsSource::Kind::directory) {
    world.together([&] { bytes = read_directory(world, source, parameters); });
  } else {
    const WholeCheckpoint whole = whole_checkpoint(world, io, source);
    from = whole.file;
    load_checkpoint(world, io, from, parameters.specs(), parameters.layout(), memory_of(parameters),
                    {.verified = whole.verified, .parameters_only = true});
    bytes = bytes_of_parameters(parameters);
  }
  log_info("weights of {}: {:.1f} MB read in {:.2f} s, by each rank its own; AdamW's moments begin at zero",
           from.string(), static_cast<double>(bytes) * 1e-6, seconds_since(start));
}

}  // namespace penstock
