// SPDX-License-Identifier: Apache-2.0
// end.json of a run folder: how the last run attempt ended.

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "run/attempt_record.hpp"

namespace penstock::fuzz {

namespace {

// What RunFolder::record makes of it when the next attempt begins.
AttemptRecords next_of(const AttemptRecords& records) {
  return {.last = {.end = AttemptEnd::running, .step = records.last.step, .attempt = records.last.attempt + 1},
          .before = records.last};
}

}  // namespace

void feed_end(std::string_view bytes) {
  // A message that names a file has that name's bytes, which need not be UTF-8.
  const AttemptRecords failed{.last = {.end = AttemptEnd::failed, .message = std::string(bytes)},
                              .before = std::nullopt};
  promise(AttemptRecords::parse(failed.json()).has_value(), "a record of any message reads back");
  const auto records = AttemptRecords::parse(std::string(bytes));
  if (!records) return;
  const auto again = AttemptRecords::parse(records->json());
  promise(again && again->json() == records->json(), "a record reads back as itself");
  next_of(*records).json();
}

}  // namespace penstock::fuzz
