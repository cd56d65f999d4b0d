// SPDX-License-Identifier: Apache-2.0
#include "model/rotary_tables.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace penstock {

RotaryTables::RotaryTables(const ModelShape& shape, Queue* queue, Arena& arena) {
  for (const BlockDescription& kind : shape.model->kinds)
    for (const BranchDescription& branch : kind.branches) {
      const AttentionCore* attention = branch.attention();
      if (!attention || !attention->rotation) continue;
      const bool there = std::any_of(tables_.begin(), tables_.end(), [&](const Table& table) {
        return table.angles == *attention->rotation && table.channels == attention->head_channels;
      });
      if (there) continue;
      const TensorView values =
          arena.take(MemoryUse::buffers, DType::float32, {shape.sequence, attention->head_channels});
      tables_.push_back({*attention->rotation, attention->head_channels, values, {}});
      if (!queue) continue;
      const std::vector<float> table =
          ops::rotary_table(*attention->rotation, shape.sequence, attention->head_channels);
      tables_.back().on_host = HostMirror(values.raw(), values.bytes());
      std::copy(table.begin(), table.end(), reinterpret_cast<float*>(tables_.back().on_host.data()));
      tables_.back().on_host.publish(*queue);
    }
}

TensorView RotaryTables::of(const AttentionCore& attention) const {
  if (!attention.rotation) return {};
  for (const Table& table : tables_)
    if (table.angles == *attention.rotation && table.channels == attention.head_channels) return table.values;
  throw LogicError("a rotation without a table");
}

}  // namespace penstock
