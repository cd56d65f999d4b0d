// SPDX-License-Identifier: Apache-2.0
#include "plan/mesh_choice.hpp"

#include <algorithm>
#include <optional>
#include <tuple>

#include "base/error.hpp"

namespace penstock {

namespace {

// The distance of a size from the wanted one, as a factor: half and twice as many are equally far.
double factor(std::int64_t size, std::int64_t wanted) {
  const auto [small, large] = std::minmax(size, wanted);
  return static_cast<double>(large) / static_cast<double>(small);
}

RunDeck read_with(Deck deck, const RunConfig::MeshSizes& mesh) {
  for (const auto& [axis, size] : mesh.by_axis()) deck.set(fmt::format("mesh.{}={}", axis, size));
  return read_run_deck(deck);
}

struct Fit {
  std::optional<RunDeck> deck;
  std::string refusal;  // of the mesh that was tried first
};

Fit first_that_fits(const Deck& deck, const RunConfig::MeshSizes& wanted, int ranks) {
  Fit fit;
  for (const RunConfig::MeshSizes& mesh : meshes_near(wanted, ranks)) {
    try {
      fit.deck = read_with(deck, mesh);
      return fit;
    } catch (const InputError& error) {
      if (fit.refusal.empty()) fit.refusal = error.what();
    }
  }
  return fit;
}

// Independent of the deck's number of layers, which has not been checked yet.
std::int64_t most_tensor(const RunConfig& config) {
  ModelConfig one_layer = config.model;
  one_layer.layers = 1;
  return most_tensor_ranks(describe_model(one_layer));
}

// No mesh has more ranks: an axis is no longer than what it cuts.
int most_ranks(const RunConfig& config) {
  const double most = static_cast<double>(config.model.layers) * static_cast<double>(most_tensor(config)) *
                      static_cast<double>(config.batch.global) / static_cast<double>(config.batch.micro);
  return static_cast<int>(std::min(most, 0x1p20));
}

// Cheap rules come before those that need the whole deck, because there are many numbers to try.
bool has_mesh(const Deck& deck, const RunConfig& config, int ranks) {
  const std::int64_t heads = most_tensor(config);
  RunConfig::MeshSizes mesh = config.mesh;
  for (mesh.tensor = 1; mesh.tensor <= std::min<std::int64_t>(heads, ranks); ++mesh.tensor)
    for (mesh.pipeline = 1; mesh.pipeline <= std::min(config.model.layers, ranks / mesh.tensor); ++mesh.pipeline) {
      mesh.data = ranks / mesh.tensor / mesh.pipeline;
      if (mesh.ranks() != ranks || config.batch.global % (config.batch.micro * mesh.data) != 0) continue;
      try {
        read_with(deck, mesh);
        return true;
      } catch (const InputError&) {
        continue;
      }
    }
  return false;
}

// "2 or 4": the nearest smaller and larger numbers for which there is a mesh.
std::string ranks_that_fit(const Deck& deck, const RunConfig& config, int ranks) {
  const int most = most_ranks(config);
  const auto fits = [&](int count) { return has_mesh(deck, config, count); };
  std::string text;
  int fewer = std::min(ranks - 1, most);
  while (fewer > 0 && !fits(fewer)) --fewer;
  if (fewer > 0) text = std::to_string(fewer);
  for (int more = ranks + 1; more <= std::min(2 * ranks, most); ++more)
    if (fits(more)) return text + (text.empty() ? "" : " or ") + std::to_string(more);
  return text.empty() ? "another number" : text;
}

}  // namespace

std::vector<RunConfig::MeshSizes> meshes_near(const RunConfig::MeshSizes& wanted, int ranks) {
  std::vector<RunConfig::MeshSizes> meshes;
  for (std::int64_t tensor = 1; tensor <= ranks; ++tensor)
    for (std::int64_t pipeline = 1; ranks % tensor == 0 && pipeline <= ranks / tensor; ++pipeline)
      if (ranks / tensor % pipeline == 0) {
        RunConfig::MeshSizes mesh = wanted;
        mesh.data = ranks / tensor / pipeline;
        mesh.pipeline = pipeline;
        mesh.tensor = tensor;
        meshes.push_back(mesh);
      }
  const auto distance = [&](const RunConfig::MeshSizes& mesh) {
    return std::tuple(factor(mesh.tensor, wanted.tensor), factor(mesh.pipeline, wanted.pipeline), -mesh.pipeline);
  };
  std::stable_sort(meshes.begin(), meshes.end(),
                   [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
  return meshes;
}

RunDeck fit_mesh(const Deck& deck, int ranks, bool for_a_job) {
  RunDeck own = read_run_deck(deck);
  const RunConfig::MeshSizes& wanted = own.config.mesh;
  if (wanted.ranks() == ranks) return own;
  Fit fit = first_that_fits(deck, wanted, ranks);
  if (fit.deck) return std::move(*fit.deck);
  if (!for_a_job)
    throw_input_error("--ranks {}: no mesh of {} rank{} fits the deck; name {} ranks, or change the batch or the model",
                      ranks, ranks, ranks == 1 ? "" : "s", ranks_that_fit(deck, own.config, ranks));
  throw_input_error(
      "mesh.auto = true, but no mesh of {} rank{} fits the deck; start {} ranks, or change the batch or the model. "
      "What "
      "refused the first mesh that was tried:\n{}",
      ranks, ranks == 1 ? "" : "s", ranks_that_fit(deck, own.config, ranks), fit.refusal);
}

std::string text_of(const RunConfig::MeshSizes& mesh) {
  std::string text;
  for (const auto& [axis, size] : mesh.by_axis()) text += fmt::format("{}{} {}", text.empty() ? "" : " x ", axis, size);
  return text;
}

}  // namespace penstock
