// SPDX-License-Identifier: Apache-2.0
// end.json of a run folder: how the last run attempt ended.

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "run/life_record.hpp"

namespace penstock::fuzz {

namespace {

// What RunFolder::record makes of it when the next attempt begins.
LifeRecords next_of(const LifeRecords& records) {
  return {.last = {.end = LifeEnd::running, .step = records.last.step, .life = records.last.life + 1},
          .before = records.last};
}

}  // namespace

void feed_end(std::string_view bytes) {
  // A message that names a file has that name's bytes, which need not be UTF-8.
  const LifeRecords failed{.last = {.end = LifeEnd::failed, .message = std::string(bytes)}, .before = std::nullopt};
  promise(LifeRecords::parse(failed.json()).has_value(), "a record of any message reads back");
  const auto records = LifeRecords::parse(std::string(bytes));
  if (!records) return;
  const auto again = LifeRecords::parse(records->json());
  promise(again && again->json() == records->json(), "a record reads back as itself");
  next_of(*records).json();
}

}  // namespace penstock::fuzz
