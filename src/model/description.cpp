// SPDX-License-Identifier: Apache-2.0
#include "model/description.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "model/families/families.hpp"

namespace penstock {

std::int64_t InProduct::outputs() const { return outputs(1); }

std::int64_t InProduct::outputs(int ranks) const {
  std::int64_t sum = 0;
  for (const InWeight& weight : weights)
    for (const OutputSection& section : weight.sections) sum += section.extent() / section.parts(ranks);
  return sum;
}

std::int64_t InWeight::outputs() const {
  std::int64_t sum = 0;
  for (const OutputSection& section : sections) sum += section.extent();
  return sum;
}

std::int64_t BranchDescription::core_channels() const {
  return std::visit([](const auto& any) { return any.channels(); }, core);
}

bool BranchDescription::activation_in_products() const { return mlp() && ops::fits_in_products(mlp()->activation); }

std::vector<std::string> ModelDescription::branch_names() const {
  std::vector<std::string> names;
  for (const BlockDescription& kind : kinds)
    for (const BranchDescription& branch : kind.branches)
      if (std::find(names.begin(), names.end(), branch.name) == names.end()) names.push_back(branch.name);
  return names;
}

namespace {

void ensure_alike(const BranchDescription& one, const BranchDescription& other) {
  ensure(one.in.outputs() == other.in.outputs() && one.core_channels() == other.core_channels() &&
             one.core.index() == other.core.index(),
         "kinds of blocks have branches of the same extents");
  ensure(one.in.bias == other.in.bias && one.out.bias == other.out.bias, "kinds of blocks have the same biases");
  if (one.mlp()) ensure(one.mlp()->activation == other.mlp()->activation, "kinds of blocks have one activation");
  if (!one.attention()) return;
  const AttentionCore &first = *one.attention(), &second = *other.attention();
  ensure(
      first.heads == second.heads && first.kv_heads == second.kv_heads && first.query_key_norm == second.query_key_norm,
      "kinds of blocks have the same heads");
}

}  // namespace

void ensure_kinds_are_alike(const ModelDescription& model) {
  const BlockDescription& first = model.kinds.front();
  for (const BlockDescription& kind : model.kinds) {
    ensure(kind.branches.size() == first.branches.size() && kind.branches.size() <= most_branches,
           "kinds of blocks have as many branches, at most most_branches");
    for (std::size_t b = 0; b < first.branches.size(); ++b) ensure_alike(first.branches[b], kind.branches[b]);
  }
}

ModelDescription describe_model(const ModelConfig& config) {
  for (const Family& family : families())
    if (family.name == config.family) {
      ModelDescription model = family.describe(config);
      ensure_kinds_are_alike(model);
      return model;
    }
  throw LogicError("no model family " + config.family);
}

namespace {

double number(std::int64_t value) { return static_cast<double>(value); }

double product_elements(const ModelDescription& model, const BranchDescription& branch) {
  return number(model.width) * number(branch.in.outputs()) + number(branch.core_channels()) * number(model.width);
}

double cost_of(const ModelDescription& model, const BranchDescription& branch, std::int64_t sequence) {
  const double attention = branch.attention() ? 2 * number(sequence + 1) * number(branch.core_channels()) : 0;
  return 2 * product_elements(model, branch) + attention;
}

}  // namespace

PartCosts part_costs(const ModelDescription& model, std::int64_t sequence) {
  const double width = number(model.width);
  PartCosts costs{.embedding = 8 * width, .blocks = {}, .head = 2 * width * number(model.vocabulary)};
  for (const std::size_t kind : model.blocks) {
    double& cost = costs.blocks.emplace_back(0);
    for (const BranchDescription& branch : model.kinds[kind].branches) cost += cost_of(model, branch, sequence);
  }
  return costs;
}

namespace {

template <typename Visit>
void for_each_section(const ModelDescription& model, const Visit& visit) {
  for (const BlockDescription& kind : model.kinds)
    for (const BranchDescription& branch : kind.branches)
      for (const InWeight& weight : branch.in.weights)
        for (const OutputSection& section : weight.sections) visit(section);
}

}  // namespace

std::int64_t most_tensor_ranks(const ModelDescription& model) {
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for_each_section(model, [&](const OutputSection& section) {
    if (!section.copied) most = std::min(most, section.units);
  });
  return most;
}

int copies_on_tensor_axis(const ModelDescription& model, int tensor) {
  int copies = 1;
  for_each_section(model,
                   [&](const OutputSection& section) { copies = std::max(copies, tensor / section.parts(tensor)); });
  return copies;
}

std::vector<IdleRows> idle_rows(const ModelDescription& model) {
  std::vector<IdleRows> idle;
  for (int block = 0; block < static_cast<int>(model.layers()); ++block)
    for (const BranchDescription& branch : model.block(block).branches) {
      if (!branch.attention() || branch.attention()->rotation || !branch.in.bias) continue;
      const InWeight& packed = branch.in.weights.front();  // q, then k, then v
      const std::int64_t begin = packed.sections[0].extent();
      idle.push_back({fmt::format("blocks.{}.{}.{}.bias", block, branch.name, packed.name), begin,
                      begin + packed.sections[1].extent()});
    }
  return idle;
}

double matrix_elements(const ModelDescription& model) {
  const std::int64_t rows = (model.tied ? 1 : 2) * model.vocabulary + (model.learned_positions ? model.positions : 0);
  double elements = number(model.width) * number(rows);
  for (const std::size_t kind : model.blocks)
    for (const BranchDescription& branch : model.kinds[kind].branches) elements += product_elements(model, branch);
  return elements;
}

}  // namespace penstock
