// SPDX-License-Identifier: Apache-2.0
#include "observe/step_tracer.hpp"

#include <algorithm>
#include <sstream>

#include "base/log.hpp"

namespace penstock {

namespace {

std::string text_of(const TracedRow& row) {
  std::string text;
  for (std::size_t i = 0; i < row.spans.size(); ++i)
    text += fmt::format("{:.9g} {:.9g} {} ", row.spans[i].start, row.spans[i].end, row.bytes[i]);
  return text;
}

TracedRow row_of(const std::string& text) {
  std::istringstream numbers(text);
  TracedRow row;
  Span span;
  for (std::uint64_t bytes = 0; numbers >> span.start >> span.end >> bytes;) {
    row.spans.push_back(span);
    row.bytes.push_back(bytes);
  }
  return row;
}

}  // namespace

bool StepTracer::wants(std::int64_t step) const {
  return std::find(steps_.begin(), steps_.end(), step) != steps_.end();
}

void StepTracer::add(World& world, std::int64_t step, Clock::time_point begin, const TracedRow& row,
                     const std::vector<std::vector<Span>>& foretold) {
  const std::vector<std::string> all = world.gather(text_of(row));
  if (world.rank() != 0) return;
  if (traced_.empty()) first_begin_ = begin;
  TracedStep traced{.step = step,
                    .begin = std::chrono::duration<double>(begin - first_begin_).count(),
                    .measured = {},
                    .foretold = foretold};
  for (const std::string& text : all) traced.measured.push_back(row_of(text));
  traced_.push_back(std::move(traced));
  try {
    folder_->write_trace(trace_json(subject_, traced_));
  } catch (const std::exception& error) {
    log_warning("{}; training goes on", error.what());
  }
}

}  // namespace penstock
