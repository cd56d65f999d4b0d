// SPDX-License-Identifier: Apache-2.0
// Setting a run up: everything that is read and checked before anything is written.

#include <fmt/ranges.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/log.hpp"
#include "base/user_path.hpp"
#include "comm/cores.hpp"
#include "data/token_file_table.hpp"
#include "device/device.hpp"
#include "plan/data_identity.hpp"
#include "plan/make_plan.hpp"
#include "plan/mesh_choice.hpp"
#include "plan/model_section.hpp"
#include "schedule/schedule.hpp"
#include "train/memory_check.hpp"
#include "train/set_up_run.hpp"

namespace penstock {

namespace {

std::string read_deck_text(const std::filesystem::path& path) {
  const std::filesystem::file_status status = status_of_path(path, "name a TOML file such as input/tiny.toml");
  if (!std::filesystem::is_regular_file(status))
    throw_input_error("the deck {} {}; name a TOML file such as input/tiny.toml", path.string(),
                      std::filesystem::exists(status) ? "is not a file" : "does not exist");
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) throw_input_error("the deck {} cannot be read; check its permissions", path.string());
  return text.str();
}

RunDeck fitted(const Deck& deck, const RunDeck& own, int ranks) {
  RunDeck fit = fit_mesh(deck, ranks);
  const std::string mesh = text_of(fit.config.mesh), wanted = text_of(own.config.mesh);
  if (mesh != wanted)
    log_info("mesh.auto: the job has {} rank{}: {}, in place of the deck's {}", ranks, ranks == 1 ? "" : "s", mesh,
             wanted);
  return fit;
}

// A restart from the run folder may also name weights, so that the command line that began the run also continues it.
std::optional<WeightsSource> look_for_weights(World& world, const TrainRequest& request) {
  if (!request.weights) return std::nullopt;
  world.together([&] {
    if (request.restart && *request.restart != "latest")
      throw_input_error(
          "--weights {} and --restart {}: a run begins with the weights of the one, or goes on from the other; leave "
          "one of them out (--restart latest may stay)",
          *request.weights, *request.restart);
  });
  return find_weights(world, *request.weights);
}

// Rank 0 reads and broadcasts, so that thousands of ranks do not open one small file.
RunDeck read_deck(World& world, const TrainRequest& request, const std::optional<WeightsSource>& weights) {
  std::string text;
  world.together([&] {
    if (world.rank() == 0) text = read_deck_text(request.deck);
  });
  text = world.broadcast(text);
  RunDeck result;
  world.together([&] {
    Deck deck = Deck::parse(text, request.deck.string());
    for (const std::string& setting : request.settings) deck.set(setting);
    if (weights) take_model_of_weights(deck, weights->model, weights->model_place);
    result = read_run_deck(deck);
    if (result.config.mesh.fitted) result = fitted(deck, result, world.size());
  });
  RunConfig::ScheduleChoice& schedule = result.config.schedule;
  if (schedule.file.empty()) return result;
  world.together([&] {
    if (world.rank() == 0) schedule.table = read_schedule_file(schedule.file);
  });
  schedule.table = world.broadcast(schedule.table);
  return result;
}

void check_world_size(const RunConfig& config, int ranks) {
  const std::int64_t wanted = config.mesh.ranks();
  if (wanted == ranks) return;
  std::vector<std::int64_t> sizes;
  for (const auto& [axis, size] : config.mesh.by_axis()) sizes.push_back(size);
  throw_input_error(
      "the job has {} rank{}, but the mesh needs {} = {} = {}; start {} rank{} (mpiexec -n {}), change the mesh, or "
      "let mesh.auto = true fit it",
      ranks, ranks == 1 ? "" : "s", config.mesh.keys(), fmt::join(sizes, " * "), wanted, wanted, wanted == 1 ? "" : "s",
      wanted);
}

// Each rank's choice of a device depends on the devices that the ranks of its node can see.
void take_device(World& world, const RunConfig& config) {
  std::string mine;
  world.together([&] {
    for (const std::string& name : visible_devices()) mine += name + " ";
  });
  const std::vector<std::string> all = world.gather(mine);
  world.together([&] {
    DeviceChoice choice{
        .rank_on_node = world.rank_on_node(), .visible = {}, .nodes = world.nodes(), .share = config.device.share};
    for (int rank = 0; rank < world.size(); ++rank)
      if (world.node_of(rank) == world.node()) {
        std::istringstream names(all[static_cast<std::size_t>(rank)]);
        choice.visible.emplace_back(std::istream_iterator<std::string>(names), std::istream_iterator<std::string>());
      }
    open_device(choice);
  });
}

// If two ranks update copies of the same weights, the copies must stay equal, bit for bit.
void agree_on_arithmetic(World& world) {
  const std::vector<std::string> all = world.gather(arithmetic_text());
  world.together([&] {
    for (std::size_t rank = 0; rank < all.size(); ++rank)
      if (all[rank] != all.front())
        throw_input_error(
            "rank {} computes with {}, and rank 0 with {}, because their CPUs differ: the last bits of their results "
            "would differ, too; set PENSTOCK_LANES=8 in the environment of all ranks",
            rank, all[rank], all.front());
  });
}

// Only one table was proved free of deadlock. Each rank makes its own from the deck, and another build of the program
// may make a different one.
void agree_on_table(World& world, const ModelPlan& plan) {
  std::string mine = fmt::format("{:016x}, blocks", plan.schedule.hash());
  for (const StagePart& part : plan.parts) mine += fmt::format(" {}", part.blocks);
  const std::vector<std::string> all = world.gather(mine);
  world.together([&] {
    for (std::size_t rank = 0; rank < all.size(); ++rank)
      if (all[rank] != all.front())
        throw SystemError(
            fmt::format("rank {} made another schedule from the deck than rank 0 ({}; rank 0: {}): the job's programs "
                        "differ; start the same build on all nodes",
                        rank, all[rank], all.front()));
  });
}

TokenFileHeader read_header(World& world, const std::string& path, const RunConfig& config) {
  TokenFileHeader header;
  world.together([&] {
    if (world.rank() != 0) return;
    header = read_token_header(path);
    check_vocabulary(header, path, static_cast<std::uint64_t>(config.model.vocabulary));
    samples_in_file(header, path, static_cast<int>(config.data.sequence));
    check_sections(path, header, read_token_table(path, header));
    ensure_all_tokens_count(path, header);
  });
  const auto* first = reinterpret_cast<const std::byte*>(&header);
  const std::vector<std::byte> bytes = world.broadcast(std::vector<std::byte>(first, first + sizeof header));
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

// Identifies the file that the deck names, even if a copy is read later. Rank 0 reads up to 4 MiB of it for all ranks.
std::string identify_data(World& world, const RunConfig& config, const TokenFileHeader& header) {
  std::string data;
  world.together([&] {
    if (world.rank() == 0) data = json_of(DataIdentity{identify(config.data.train, header)});
  });
  return world.broadcast(data);
}

void check_validation(const RunConfig& config, const TokenFileHeader& header) {
  const auto samples = samples_in_file(header, config.data.validation, static_cast<int>(config.data.sequence));
  if (samples < static_cast<std::uint64_t>(config.validation.samples))
    throw_input_error(
        "validation.samples = {}, but {} holds only {} samples of {} tokens; use at most {}, or a longer file",
        config.validation.samples, config.data.validation, samples, config.data.sequence, samples);
}

}  // namespace

RunSetup set_up_run(World& world, const TrainRequest& request) {
  RunSetup setup;
  setup.weights = look_for_weights(world, request);
  setup.deck = read_deck(world, request, setup.weights);
  const RunConfig& config = setup.deck.config;
  world.together([&] {
    check_world_size(config, world.size());
    setup.mesh = config.make_mesh();
    setup.plan = make_plan(config);
  });
  take_device(world, config);
  agree_on_arithmetic(world);
  setup.train_file = config.data.train;
  setup.validation_file = config.data.validation;
  setup.train_header = read_header(world, config.data.train, config);
  setup.data = identify_data(world, config, setup.train_header);
  if (!config.data.validation.empty()) {
    setup.validation_header = read_header(world, config.data.validation, config);
    world.together([&] {
      check_validation(config, *setup.validation_header);
      if (world.rank() == 0)
        ensure_one_tokenizer(config.data.train, setup.train_header, config.data.validation, *setup.validation_header);
    });
  }
  agree_on_table(world, setup.plan);
  setup.threads = threads_of_rank(world, config.device.threads);
  choose_recomputation(world, setup);
  refuse_what_does_not_fit(world, setup);
  setup.run = request.run.value_or(std::filesystem::path("runs") / request.deck.stem());
  return setup;
}

}  // namespace penstock
