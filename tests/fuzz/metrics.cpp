// SPDX-License-Identifier: Apache-2.0
// metrics.csv: the rows that a restart takes over, and what `penstock status` reads of them.

#include <nlohmann/json.hpp>

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "run/metrics_rows.hpp"
#include "run/run_status.hpp"

namespace penstock::fuzz {

namespace {

void take_over(const std::string& path, std::int64_t last_step) {
  const KeptRows kept = rows_up_to(path, last_step);
  const MemoryFile again(kept.text);
  const KeptRows twice = rows_up_to(again.path(), last_step);
  promise(twice.text == kept.text, "rows that were taken over are taken over again");
  promise(twice.tokens == kept.tokens, "and so is the number of tokens");
}

}  // namespace

void feed_metrics(std::string_view bytes) {
  const MemoryFile file(bytes);
  for (const std::int64_t last_step : {std::int64_t{1}, std::int64_t{3}, std::numeric_limits<std::int64_t>::max()})
    take_over(file.path(), last_step);
  RunStatus status;
  status.recent = read_recent_steps(file.path());
  status.steps = 1000;
  text_of(status);
  json_of(status).dump();
}

}  // namespace penstock::fuzz
