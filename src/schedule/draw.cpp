// SPDX-License-Identifier: Apache-2.0
#include "schedule/draw.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"

namespace penstock {
namespace {

/// "F0", or "2F0" where a rank has several stages.
std::string label(const Schedule& schedule, const Action& action) {
  return schedule.chunks() > 1 ? action.text() : action.text().substr(std::to_string(action.stage).size());
}

/// The action in `width` characters.
std::string cell(const Schedule& schedule, const Action& action, std::size_t width) {
  std::string full = label(schedule, action);
  if (full.size() <= width) return full + std::string(width - full.size(), '-');
  const std::string digits = std::to_string(action.microbatch);
  const std::size_t kept = std::min(width - 1, digits.size());
  const std::string cut = letter(action.work) + digits.substr(digits.size() - kept);
  return cut + std::string(width - cut.size(), '-');
}

std::string draw_row(const Schedule& schedule, int rank, const std::vector<Span>& spans, double scale, int columns) {
  std::string line(static_cast<std::size_t>(columns), '.');
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const Action& action = schedule.row(rank)[i];
    if (!is_compute(action.work)) continue;
    const auto first = static_cast<std::size_t>(std::lround(spans[i].start * scale));
    const auto last = static_cast<std::size_t>(std::lround(spans[i].end * scale));
    if (last > first) line.replace(first, last - first, cell(schedule, action, last - first));
  }
  return line;
}

struct Style {
  Work work;
  std::string_view colour;
};

constexpr std::array<Style, 4> styles{{{Work::forward, "#8ecae6"},
                                       {Work::input_gradient, "#ffb703"},
                                       {Work::weight_gradient, "#a7c957"},
                                       {Work::backward, "#f4a261"}}};

std::string_view colour_of(Work work) {
  for (const Style& style : styles)
    if (style.work == work) return style.colour;
  return "#cccccc";
}

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  return out;
}

constexpr double left = 60;
constexpr double top = 34;
constexpr double row_height = 30;

std::string draw_box(const Schedule& schedule, int rank, const Action& action, const Span& span, double scale) {
  const double x = left + span.start * scale;
  const double y = top + rank * row_height;
  const double width = (span.end - span.start) * scale;
  const std::string inside = label(schedule, action);
  std::string box = fmt::format(
      R"(<g><title>{}: {:.6g} to {:.6g}</title><rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{}" fill="{}")"
      R"( stroke="#333" stroke-width="0.5"/>)",
      action.text(), span.start, span.end, x, y, width, row_height - 4, colour_of(action.work));
  if (width > 7 * static_cast<double>(inside.size()))  // otherwise the letters would cover the neighbours
    box += fmt::format(R"(<text x="{:.2f}" y="{:.2f}" text-anchor="middle">{}</text>)", x + width / 2, y + 17, inside);
  return box + "</g>\n";
}

/// A step of 1, 2 or 5 times a power of ten, so that about ten steps make the whole.
double nice_step(double whole) {
  const double tenth = std::pow(10, std::floor(std::log10(whole / 10)));
  for (const double times : {1.0, 2.0, 5.0})
    if (whole / (times * tenth) <= 15) return times * tenth;
  return 10 * tenth;
}

/// Ticks and times below the rows.
std::string draw_axis(double y, double makespan, double scale) {
  std::string out = fmt::format(R"(<path d="M{:.2f} {:.2f}H{:.2f}" stroke="#333" fill="none"/>)"
                                "\n",
                                left, y, left + makespan * scale);
  const double step = nice_step(makespan);
  for (int tick = 0; tick * step <= makespan; ++tick) {
    const double x = left + tick * step * scale;
    out += fmt::format(
        R"(<path d="M{:.2f} {:.2f}v5" stroke="#333"/><text x="{:.2f}" y="{:.2f}" text-anchor="middle">{:.6g}</text>)"
        "\n",
        x, y, x, y + 17, tick * step);
  }
  return out;
}

std::string draw_legend(double y) {
  std::string out;
  double x = left;
  for (const Style& style : styles) {
    out += fmt::format(R"(<rect x="{}" y="{}" width="14" height="14" fill="{}"/><text x="{}" y="{}">{}: {}</text>)"
                       "\n",
                       x, y, style.colour, x + 20, y + 11, letter(style.work), name(style.work));
    x += 150;
  }
  return out;
}

}  // namespace

std::string draw_text(const Schedule& schedule, const Simulation& simulation, int columns) {
  ensure(columns > 0, "draw_text: no columns");
  std::string out;
  for (int rank = 0; rank < schedule.pipeline; ++rank)
    out += fmt::format("rank {:>{}} |{}|\n", rank, std::to_string(schedule.pipeline - 1).size(),
                       draw_row(schedule, rank, simulation.spans[static_cast<std::size_t>(rank)],
                                columns / simulation.makespan, columns));
  return out;
}

std::string draw_svg(const Schedule& schedule, const Simulation& simulation) {
  // Wide enough for the text in the box of an average action, but not wider than a browser draws well.
  const double width =
      std::clamp(40.0 * (3.0 * schedule.microbatches * schedule.chunks() + schedule.pipeline), 600.0, 20000.0);
  const double scale = width / simulation.makespan;
  const double axis_top = top + schedule.pipeline * row_height + 2;
  const double legend_top = axis_top + 28;
  std::string out = fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" width="{:.0f}" height="{:.0f}")"
      R"( font-family="sans-serif" font-size="11">)"
      "\n"
      R"(<text x="{}" y="20" font-size="14">{}: {} ranks, {} microbatches, makespan {:.6g}, bubble rate {:.4f}</text>)"
      "\n",
      left + width + 10, legend_top + 24, left, escape(schedule.name), schedule.pipeline, schedule.microbatches,
      simulation.makespan, simulation.bubble_rate);
  for (int rank = 0; rank < schedule.pipeline; ++rank) {
    out += fmt::format("<text x=\"6\" y=\"{:.2f}\">rank {}</text>\n", top + rank * row_height + 17, rank);
    const std::vector<Span>& spans = simulation.spans[static_cast<std::size_t>(rank)];
    for (std::size_t i = 0; i < spans.size(); ++i)
      if (const Action& action = schedule.row(rank)[i]; is_compute(action.work))
        out += draw_box(schedule, rank, action, spans[i], scale);
  }
  return out + draw_axis(axis_top, simulation.makespan, scale) + draw_legend(legend_top) + "</svg>\n";
}

}  // namespace penstock
