// SPDX-License-Identifier: Apache-2.0
#include "schedule/csv.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/error.hpp"
#include "schedule/prerequisites.hpp"
#include "schedule/validate.hpp"

namespace penstock {
namespace {

/// The place of a cell in its file, counted from 1 as in editors.
struct CellPlace {
  int line = 0;
  int cell = 0;
};

struct Cell {
  Action action;
  CellPlace place;
};

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (std::size_t end = text.find(at); end != std::string_view::npos; end = text.find(at)) {
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  parts.push_back(text);
  return parts;
}

[[noreturn]] void refuse(std::string_view file, CellPlace place, std::string_view what) {
  throw_input_error("{}:{}: cell {}: {}", file, place.line, place.cell, what);
}

Action read_action(std::string_view text, std::string_view file, CellPlace place) {
  try {
    return parse_action(text);
  } catch (const InputError& error) {
    refuse(file, place, error.what());
  }
}

Cell read_cell(std::string_view text, std::string_view file, CellPlace place) {
  const Action action = read_action(text, file, place);
  if (!is_compute(action.work))
    refuse(file, place, fmt::format("{}: a file holds F, I, W and B only; leave it out, lower adds it", text));
  return {action, place};
}

std::vector<Cell> read_line(std::string_view text, std::string_view file, int line) {
  std::vector<Cell> cells;
  int number = 0;
  for (const std::string_view part : split(text, ',')) {
    ++number;
    if (const std::string_view cell = trim(part); !cell.empty()) cells.push_back(read_cell(cell, file, {line, number}));
  }
  return cells;
}

std::vector<std::vector<Cell>> read_lines(std::string_view csv, std::string_view file) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";  // editors and spreadsheets write it at the beginning
  if (csv.starts_with(byte_order_mark)) csv.remove_prefix(byte_order_mark.size());
  std::vector<std::vector<Cell>> rows;
  int line = 0;
  for (const std::string_view text : split(csv, '\n'))
    if (++line; !trim(text).empty()) rows.push_back(read_line(text, file, line));
  return rows;
}

/// The first cell of a stage.
CellPlace place_of(const std::vector<Cell>& row, int stage) {
  return std::find_if(row.begin(), row.end(), [&](const Cell& cell) { return cell.action.stage == stage; })->place;
}

/// Forwards and backwards belong together. Looks only at existing cells: with one mistyped number the table would need
/// too many actions to list.
void check_pairs(const std::vector<Cell>& row, std::string_view file) {
  std::set<Action> there;
  for (const Cell& cell : row)
    for (const Action& part : parts_of(cell.action)) there.insert(part);
  for (const Cell& cell : row)
    for (const Work needed : {Work::forward, Work::input_gradient, Work::weight_gradient}) {
      const Action& a = cell.action;
      if (there.contains({needed, a.stage, a.microbatch})) continue;
      const std::string cure =
          needed == Work::input_gradient && !there.contains({Work::weight_gradient, a.stage, a.microbatch})
              ? fmt::format("{0}B{1}, or {0}I{1} and {0}W{1}", a.stage, a.microbatch)
              : Action{needed, a.stage, a.microbatch}.text();
      refuse(file, cell.place,
             fmt::format(
                 "{}: its {} is missing: each microbatch goes forwards and backwards through each stage, add {} to "
                 "this line",
                 a.text(), needed == Work::forward ? "forward" : "backward", cure));
    }
}

/// The cell with the highest number of a microbatch.
CellPlace place_of_last(const std::vector<std::vector<Cell>>& rows) {
  const Cell* last = nullptr;
  for (const std::vector<Cell>& row : rows)
    for (const Cell& cell : row)
      if (!last || cell.action.microbatch > last->action.microbatch) last = &cell;
  return last ? last->place : CellPlace{1, 1};
}

/// The rank of each stage, by the lines in which the stages are.
std::vector<int> read_placement(const std::vector<std::vector<Cell>>& rows, std::string_view file) {
  std::map<int, int> ranks;
  for (std::size_t rank = 0; rank < rows.size(); ++rank)
    for (const Cell& cell : rows[rank]) {
      const int here = ranks.emplace(cell.action.stage, static_cast<int>(rank)).first->second;
      if (here != static_cast<int>(rank))
        refuse(
            file, cell.place,
            fmt::format("{}: stage {} is in the row of rank {} too; a stage belongs to one rank, keep it in one line",
                        cell.action.text(), cell.action.stage, here));
    }
  std::vector<int> placement;
  for (const auto& [stage, rank] : ranks) {
    if (stage != static_cast<int>(placement.size()))
      refuse(file, place_of(rows[static_cast<std::size_t>(rank)], stage),
             fmt::format("stage {} is missing, but there is a stage {}; stages count from 0 without a gap: add {}, or "
                         "correct the number here",
                         placement.size(), stage, placement.size()));
    placement.push_back(rank);
  }
  return placement;
}

Schedule to_schedule(const std::vector<std::vector<Cell>>& rows, std::string_view file, std::string_view name) {
  Schedule schedule;
  schedule.name = name;
  schedule.placement = read_placement(rows, file);
  schedule.stages = static_cast<int>(schedule.placement.size());
  schedule.pipeline = static_cast<int>(rows.size());
  for (const std::vector<Cell>& row : rows) {
    std::vector<Action>& actions = schedule.rows.emplace_back();
    for (const Cell& cell : row) {
      actions.push_back(cell.action);
      schedule.microbatches = std::max(schedule.microbatches, cell.action.microbatch + 1);
    }
  }
  return schedule;
}

}  // namespace

std::string to_csv(const Schedule& schedule) {
  std::string out;
  for (const std::vector<Action>& row : schedule.rows) {
    const std::size_t begin = out.size();
    for (const Action& action : row)
      if (is_compute(action.work)) out += fmt::format("{}{}", out.size() == begin ? "" : ",", action.text());
    out += '\n';
  }
  return out;
}

Schedule schedule_from_csv(std::string_view csv, std::string_view file, std::string_view name) {
  const std::vector<std::vector<Cell>> rows = read_lines(csv, file);
  if (rows.empty()) throw_input_error("{}: no rows; write a line a rank, with cells like 0F0,0B0", file);
  Schedule schedule = to_schedule(rows, file, name);
  for (const std::vector<Cell>& row : rows) check_pairs(row, file);
  if (const std::optional<Problem> problem = find_problem(schedule)) {
    if (problem->rank < 0) refuse(file, place_of_last(rows), problem->message);
    const std::vector<Cell>& row = rows[static_cast<std::size_t>(problem->rank)];
    if (row.empty()) throw_input_error("{}: {}", file, problem->message);
    // A missing action is reported at the last cell of its line.
    refuse(file, row[std::min(problem->index, row.size() - 1)].place, problem->message);
  }
  return schedule;
}

}  // namespace penstock
