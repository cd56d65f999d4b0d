// SPDX-License-Identifier: Apache-2.0
#include "observe/nonfinite_search.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "device/copy.hpp"
#include "observe/finite_check.hpp"

namespace penstock {

namespace {

// A text that sorts like the taps, followed by the description; exchanged by the ranks.
std::string ordered_text(const NonfiniteTap& tap, const std::string& words) {
  return fmt::format("{:06} {} {:06} {} {} {}", tap.microbatch, tap.backward ? 1 : 0, tap.depth, tap.order,
                     tap.summed ? 1 : 0, words);
}

std::string without_order(const std::string& text) {
  std::size_t at = 0;
  for (int number = 0; number < 5; ++number) at = text.find(' ', at) + 1;
  return text.substr(at);
}

}  // namespace

bool is_finite(const StepResult& result) { return std::isfinite(result.loss) && std::isfinite(result.gradient_norm); }

NonfiniteFind NonfiniteSearch::find(const StepResult& result, const StepTokens& tokens,
                                    const std::function<StepResult()>& again) {
  NonfiniteFind find{
      .text = said_by_ranks(in_parameters([](const BucketMemory& memory) { return std::vector{memory.weights}; })),
      .result = result};
  find.in_weights = !find.text.empty();
  if (find.in_weights) return find;
  find.again = true;
  find.text = first_tap(tokens, again, find.result);
  if (find.text.empty() && !is_finite(find.result))
    find.text = said_by_ranks(in_parameters([](const BucketMemory& memory) { return memory.gradients; }));
  if (find.text.empty() && !is_finite(find.result)) find.text = "no value of the model: only their sums are not finite";
  return find;
}

std::string NonfiniteSearch::said_by_ranks(const std::string& mine) const {
  const std::vector<std::string> all = world_->gather(mine);
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (!all[rank].empty()) {
      std::string others;
      for (std::size_t other = rank + 1; other < all.size(); ++other)
        if (!all[other].empty()) others += fmt::format("{}{}", others.empty() ? " (also on ranks " : ", ", other);
      return all[rank] + others + (others.empty() ? "" : ")");
    }
  return "";
}

std::string NonfiniteSearch::in_parameters(
    const std::function<std::vector<TensorView>(const BucketMemory&)>& of) const {
  const ParameterSet& parameters = model_->parameters();
  const auto& buckets = parameters.layout().buckets();
  for (std::size_t b = 0; b < buckets.size(); ++b)
    for (const TensorView& values : of(parameters.memory(b)))
      if (const std::string found = in_bucket(buckets[b], values); !found.empty()) return found;
  return "";
}

std::string NonfiniteSearch::in_bucket(const Bucket& bucket, TensorView values) const {
  HostMemory seen(values.bytes());
  copy_to_host(*queue_, values.raw(), seen.data(), values.bytes());
  queue_->drain("parameters to look at");
  const TensorView all(seen.data(), values.type(), values.shape());
  if (is_finite(all)) return "";
  for (const BucketEntry& entry : bucket.entries)
    for (std::int64_t i = 0; i < entry.elements; ++i)
      if (!is_finite(all.range(entry.begin + i, 1)))
        return fmt::format("{} on rank {} ({})", element(model_->parameters().specs()[entry.parameter], i),
                           world_->rank(), World::host());
  return "";
}

// The local element with its global index.
std::string NonfiniteSearch::element(const ParameterSpec& spec, std::int64_t local) const {
  for (const Box& box : local_boxes(spec, model_->parameters().layout().place().mesh)) {
    const std::int64_t inside = local - box.local_begin;
    if (inside < 0 || inside >= box.elements()) continue;
    if (spec.shape.dimensions() == 1) return fmt::format("{}[{}]", spec.name, box.offset[0] + inside);
    return fmt::format("{}[{}, {}]", spec.name, box.offset[0] + inside / box.extent[1],
                       box.offset[1] + inside % box.extent[1]);
  }
  return spec.name + " (its padding)";
}

std::string NonfiniteSearch::first_tap(const StepTokens& tokens, const std::function<StepResult()>& again,
                                       StepResult& result) {
  FiniteCheck check(*plan_->model);
  {
    const auto tapped = model_->context().tapped_by(check);
    result = again();
  }
  std::string mine;
  if (const std::optional<NonfiniteTap>& first = check.first()) {
    const std::uint64_t sample = tokens.microbatches.at(static_cast<std::size_t>(first->microbatch)).first_sample;
    mine = ordered_text(
        *first,
        fmt::format("{}, microbatch {} (samples {} to {}), on rank {} ({})", first->text(), first->microbatch, sample,
                    sample + static_cast<std::uint64_t>(plan_->micro) - 1, world_->rank(), World::host()));
  }
  std::vector<std::string> all = world_->gather(mine);
  std::erase(all, "");
  return all.empty() ? "" : without_order(*std::min_element(all.begin(), all.end()));
}

}  // namespace penstock
