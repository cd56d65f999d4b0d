#include "train/step_tracer.hpp"

#include <algorithm>
#include <sstream>

#include "base/log.hpp"

namespace penstock {

namespace {

std::string text_of(const std::vector<Span>& spans) {
  std::string text;
  for (const Span& span : spans) text += fmt::format("{:.9g} {:.9g} ", span.start, span.end);
  return text;
}

std::vector<Span> spans_of(const std::string& text) {
  std::istringstream numbers(text);
  std::vector<Span> spans;
  for (Span span; numbers >> span.start >> span.end;) spans.push_back(span);
  return spans;
}

}  // namespace

bool StepTracer::wants(std::int64_t step) const {
  return std::find(steps_.begin(), steps_.end(), step) != steps_.end();
}

void StepTracer::add(World& world, std::int64_t step, Clock::time_point begin, const std::vector<Span>& spans,
                     const std::vector<std::vector<Span>>& foretold) {
  const std::vector<std::string> all = world.gather(text_of(spans));
  if (world.rank() != 0) return;
  if (traced_.empty()) first_begin_ = begin;
  TracedStep traced{.step = step,
                    .begin = std::chrono::duration<double>(begin - first_begin_).count(),
                    .measured = {},
                    .foretold = foretold};
  for (const std::string& text : all) traced.measured.push_back(spans_of(text));
  traced_.push_back(std::move(traced));
  try {
    folder_->write_trace(trace_json(subject_, traced_));
  } catch (const std::exception& error) {
    spdlog::warn("{}; training goes on", error.what());
  }
}

}  // namespace penstock
