// SPDX-License-Identifier: Apache-2.0
// costs.json of a run folder: what `penstock check --costs` reads.

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "pipeline/part_times.hpp"

namespace penstock::fuzz {

void feed_costs(std::string_view bytes) {
  const std::string subject = "a deck";
  PartTimes times;
  if (!accepts([&] { times = read_part_times(std::string(bytes), subject); })) return;
  const std::string text = part_times_json(times, subject);
  promise(part_times_json(read_part_times(text, subject), subject) == text, "times read back as they are");
  costs_of({{.stage = 0, .first_block = 0, .blocks = 2, .embedding = true, .head = false},
            {.stage = 1, .first_block = 2, .blocks = 2, .embedding = false, .head = true}},
           times);
}

}  // namespace penstock::fuzz
