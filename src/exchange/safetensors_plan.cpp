// SPDX-License-Identifier: Apache-2.0
#include "exchange/safetensors_plan.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "exchange/safetensors_header.hpp"

namespace penstock {

SafetensorsPlan::SafetensorsPlan(const std::vector<PlannedTensor>& tensors, DType type, std::uint64_t most_bytes)
    : type_(type) {
  const StoredTypeName stored = *stored_type_named(stored_name_of(type));
  const auto bytes_needed_by = [&](const StoredTensor& tensor) {
    return static_cast<std::uint64_t>(tensor.elements()) * bytes_of(type);
  };
  std::uint64_t in_shard = 0;
  for (const PlannedTensor& planned : tensors) {
    StoredTensor tensor{.name = planned.name, .type = stored, .shape = planned.shape};
    const std::uint64_t bytes = bytes_needed_by(tensor);
    if (shards_.empty() || (in_shard > 0 && in_shard + bytes > most_bytes)) {
      shards_.emplace_back();
      in_shard = 0;
    }
    in_shard += bytes;
    shards_.back().tensors.push_back(std::move(tensor));
  }
  ensure(!shards_.empty(), "SafetensorsPlan: no tensors");
  for (std::size_t s = 0; s < shards_.size(); ++s) {
    SafetensorsShard& shard = shards_[s];
    shard.file = shards_.size() == 1 ? "model.safetensors"
                                     : fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards_.size());
    std::sort(shard.tensors.begin(), shard.tensors.end(),
              [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
    std::uint64_t at = 0;
    for (StoredTensor& tensor : shard.tensors) {
      tensor.begin = at;
      tensor.end = at += bytes_needed_by(tensor);
    }
    shard.header = safetensors_header(shard.tensors);
    shard.bytes = shard.header.size() + at;
    for (std::size_t i = 0; i < shard.tensors.size(); ++i)
      ensure(places_.emplace(shard.tensors[i].name, std::pair(s, i)).second, "SafetensorsPlan: a tensor twice");
  }
}

std::string SafetensorsPlan::index_text() const {
  if (shards_.size() == 1) return "";
  nlohmann::json map = nlohmann::json::object();
  std::uint64_t bytes = 0;
  for (const auto& [name, place] : places_) {
    map[name] = shards_[place.first].file;
    const StoredTensor& tensor = shards_[place.first].tensors[place.second];
    bytes += tensor.end - tensor.begin;
  }
  const nlohmann::json index = {{"metadata", {{"total_size", bytes}}}, {"weight_map", std::move(map)}};
  return index.dump(2) + "\n";
}

SafetensorsPlan::Place SafetensorsPlan::find(std::string_view name) const {
  const auto found = places_.find(name);
  ensure(found != places_.end(), "SafetensorsPlan: a tensor that is not planned");
  const auto [shard, index] = found->second;
  return {shard, &shards_[shard].tensors[index]};
}

}  // namespace penstock
