// SPDX-License-Identifier: Apache-2.0
#include "observe/finite_check.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "device/copy.hpp"
#include "device/queue.hpp"
#include "plan/make_plan.hpp"

namespace penstock {

namespace {

constexpr std::string_view gradient = ".gradient";

// The position of a tap: the layer, counted from the embedding, and its order within the layer.
struct TapPlace {
  int layer = 0;
  int turn = 0;
};

TapPlace place_of(std::string_view tap, int layers, const std::vector<std::string>& branches) {
  constexpr std::string_view blocks = "blocks.";
  if (tap.starts_with("embedding")) return {0, 0};
  if (!tap.starts_with(blocks)) return {layers + 1, tap.starts_with("loss") ? 1 : 0};
  int block = 0;
  std::from_chars(tap.data() + blocks.size(), tap.data() + tap.size(), block);
  const auto named = std::find_if(branches.begin(), branches.end(),
                                  [&](const std::string& branch) { return tap.find("." + branch) != tap.npos; });
  return {block + 1, static_cast<int>(named - branches.begin())};
}

}  // namespace

std::string NonfiniteTap::text() const {
  return fmt::format("{}{}, {} pass", summed ? "" : "this rank's part of the sum before ", tap,
                     backward ? "backward" : "forward");
}

bool is_finite(TensorView values) {
  const auto all = [&](const auto* data) {
    return std::all_of(data, data + values.elements(), [](auto x) { return std::isfinite(static_cast<float>(x)); });
  };
  return values.type() == DType::bfloat16 ? all(values.data<bfloat16>()) : all(values.data<float>());
}

void FiniteCheck::record(Queue& queue, std::string_view tap, int microbatch, TensorView values) {
  const bool part_found = std::exchange(part_found_, false);
  if (!part_found && !finds(queue, values)) return;
  const bool backward = tap.ends_with(gradient);
  const TapPlace place = place_of(tap, layers_, branches_);
  note({.microbatch = microbatch,
        .backward = backward,
        .depth = backward ? layers_ + 1 - place.layer : place.layer,
        .order = backward ? static_cast<int>(branches_.size()) - place.turn : place.turn,
        .summed = !part_found,
        .tap = std::string(tap)});
}

void FiniteCheck::record_part(Queue& queue, TensorView values) {
  if (finds(queue, values)) part_found_ = true;
}

bool FiniteCheck::finds(Queue& queue, TensorView values) {
  if (landing_.bytes() < values.bytes()) landing_ = HostMemory(values.bytes());
  copy_to_host(queue, values.raw(), landing_.data(), values.bytes());
  queue.drain("values to look at");
  return !is_finite(TensorView(landing_.data(), values.type(), values.shape()));
}

void FiniteCheck::note(NonfiniteTap tap) {
  if (!first_ || tap < *first_) first_ = std::move(tap);
}

}  // namespace penstock
