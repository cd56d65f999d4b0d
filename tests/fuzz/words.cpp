// SPDX-License-Identifier: Apache-2.0
// Small texts from elsewhere: sizes of memories, taps, and what Slurm's scontrol prints.

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "plan/memory_text.hpp"
#include "plan/taps.hpp"
#include "run/job_end.hpp"

namespace penstock::fuzz {

void feed_words(std::string_view bytes) {
  accepts([&] { promise(parse_bytes(bytes) < std::size_t{1} << 63, "a memory has a size that there can be"); });
  const std::vector<std::string> tap{std::string(bytes)};
  const ModelDescription model = describe_model({.layers = 2, .width = 8, .heads = 2});
  promise(expand_taps(tap, model).empty() == !unknown_taps(tap, model).empty(), "a tap is known or not");
  job_end_in(bytes, "4711");
}

}  // namespace penstock::fuzz
