// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/difference.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/array_reader.hpp"
#include "config/deck.hpp"

namespace penstock {

namespace {

// The comparison of one line so far.
struct DistanceSums {
  bool equal_bits = true;
  double largest = 0;
  double of_difference = 0, of_a = 0, of_b = 0;  // squares

  template <typename T>
  void add(const T* a, const T* b, std::int64_t count) {
    equal_bits = equal_bits && std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(T)) == 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
      const double difference = std::memcmp(a + i, b + i, sizeof(T)) == 0 ? 0.0 : std::abs(x - y);
      largest = std::max(largest, std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference);
      of_difference += difference * difference;
      of_a += x * x;
      of_b += y * y;
    }
  }

  DifferenceLine line(std::string name) const {
    DifferenceLine line{std::move(name), {}, equal_bits, largest, 0, false};
    if (!std::isfinite(largest))
      line.relative_norm = largest;
    else if (of_difference > 0)
      line.relative_norm = std::sqrt(of_difference / std::max(of_a, of_b));
    return line;
  }
};

std::string text_of(const Attribute* attribute) {
  if (!attribute) return "-";
  if (const auto* text = std::get_if<std::string>(&attribute->value)) return *text;
  if (const auto* real = std::get_if<double>(&attribute->value)) return fmt::format("{}", *real);
  return std::to_string(std::get<std::int64_t>(attribute->value));
}

std::vector<AttributeDifference> compare_attributes(const FileContents& a, const FileContents& b) {
  std::set<std::string> names;
  for (const FileContents* contents : {&a, &b})
    for (const Attribute& attribute : contents->attributes) names.insert(attribute.name);
  std::vector<AttributeDifference> differences;
  for (const std::string& name : names) {
    const std::string in_a = text_of(a.attribute(name)), in_b = text_of(b.attribute(name));
    if (in_a != in_b) differences.push_back({name, in_a, in_b});
  }
  return differences;
}

// A file and a block of one of its arrays.
struct Side {
  ArrayReader reader;
  std::vector<std::byte> block = {};

  void load(const ArrayInfo& array, const Box& box) {
    block.resize(static_cast<std::size_t>(box.elements()) * bytes_of(array.type));
    reader.read(array, box, block.data());
  }
};

class Comparison {
 public:
  Comparison(const std::filesystem::path& a, const std::filesystem::path& b, const std::vector<NamedRows>& named,
             Progress& progress)
      : a_{ArrayReader(a, {checkpoint_format, capture_format})},
        b_{ArrayReader(b, {checkpoint_format, capture_format})},
        named_(named),
        progress_(progress) {}

  Difference run() {
    Difference difference{a_.reader.path(), b_.reader.path(), {}, {}, true, 0, 0};
    difference.attributes = compare_attributes(a_.reader.contents(), b_.reader.contents());
    for (const ArrayInfo& array : a_.reader.contents().arrays) {
      const ArrayInfo* other = b_.reader.contents().find(array.path);
      if (!other)
        lines_.push_back(unlike(array.path, "only in " + a_.reader.path().string()));
      else if (other->shape != array.shape || other->type != array.type)
        lines_.push_back(unlike(array.path, fmt::format("{} {} and {} {}", name_of(array.type), array.shape.text(),
                                                        name_of(other->type), other->shape.text())));
      else
        compare(array);
    }
    for (const ArrayInfo& array : b_.reader.contents().arrays)
      if (!a_.reader.contents().find(array.path))
        lines_.push_back(unlike(array.path, "only in " + b_.reader.path().string()));
    difference.lines = std::move(lines_);
    return difference;
  }

 private:
  static DifferenceLine unlike(std::string name, std::string problem) {
    const double infinite = std::numeric_limits<double>::infinity();
    return {std::move(name), std::move(problem), false, infinite, infinite, false};
  }

  // For an array of one dimension; nullptr: none.
  const NamedRows* named_rows_of(const ArrayInfo& array) const {
    const auto found = std::find_if(named_.begin(), named_.end(), [&](const NamedRows& rows) {
      return array.path.ends_with(rows.arrays) && array.shape.dimensions() == 1 && rows.end <= array.shape[0];
    });
    return found == named_.end() ? nullptr : &*found;
  }

  void compare(const ArrayInfo& array) {
    DistanceSums rest, of_rows;
    const NamedRows* rows = named_rows_of(array);
    for (const Box& box : row_blocks(array)) {
      a_.load(array, box);
      b_.load(array, box);
      progress_.advance(2 * a_.block.size());
      const std::int64_t first = box.offset[0], last = first + box.elements();
      if (!rows) {
        add(rest, array, 0, box.elements());
        continue;
      }
      const auto within = [&](std::int64_t index) { return std::clamp(index, first, last) - first; };
      add(rest, array, 0, within(rows->begin));
      add(of_rows, array, within(rows->begin), within(rows->end));
      add(rest, array, within(rows->end), box.elements());
    }
    lines_.push_back(rest.line(array.path));
    if (rows) lines_.push_back(of_rows.line(array.path + " " + rows->name));
  }

  void add(DistanceSums& sums, const ArrayInfo& array, std::int64_t begin, std::int64_t end) const {
    if (array.type == DType::float32)
      sums.add(reinterpret_cast<const float*>(a_.block.data()) + begin,
               reinterpret_cast<const float*>(b_.block.data()) + begin, end - begin);
    else
      sums.add(reinterpret_cast<const std::int32_t*>(a_.block.data()) + begin,
               reinterpret_cast<const std::int32_t*>(b_.block.data()) + begin, end - begin);
  }

  Side a_, b_;
  const std::vector<NamedRows>& named_;
  Progress& progress_;
  std::vector<DifferenceLine> lines_;
};

void leave_out(Difference& difference, const std::vector<std::string>& patterns) {
  for (DifferenceLine& line : difference.lines)
    line.left_out = std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
      return fnmatch(pattern.c_str(), line.name.c_str(), 0) == 0;
    });
}

void sum_up(Difference& difference) {
  for (const DifferenceLine& line : difference.lines) {
    if (line.left_out) continue;
    difference.equal_bits = difference.equal_bits && line.equal_bits;
    difference.largest = std::max(difference.largest, line.largest);
    difference.relative_norm = std::max(difference.relative_norm, line.relative_norm);
  }
  std::stable_sort(difference.lines.begin(), difference.lines.end(),
                   [](const DifferenceLine& x, const DifferenceLine& y) {
                     if (x.left_out != y.left_out) return y.left_out;
                     if (x.problem.empty() != y.problem.empty()) return y.problem.empty();
                     return x.largest > y.largest;
                   });
}

}  // namespace

Difference diff_files(IoThread& io, const std::filesystem::path& a, const std::filesystem::path& b,
                      const DiffOptions& options) {
  Difference difference = run_reading(
      io, a.string() + " and " + b.string(), wait_by_sleeping(),
      [a, b, named = options.named_rows](Progress& progress) { return Comparison(a, b, named, progress).run(); },
      options.quiet_seconds);
  leave_out(difference, options.leave_out);
  sum_up(difference);
  return difference;
}

namespace {

std::string text_of(const DifferenceLine& line) {
  return (line.problem.empty() ? fmt::format("{:12.4e} {:12.4e}  {}", line.largest, line.relative_norm, line.name)
                               : fmt::format("{:>25}  {}: {}", "not comparable", line.name, line.problem)) +
         (line.left_out ? "  (left out)\n" : "\n");
}

std::map<std::string, std::string> keys_of_deck(const std::string& text) {
  std::map<std::string, std::string> keys;
  const Deck deck = Deck::parse(text, "deck");
  for (const DeckEntry& entry : deck.entries())
    if (entry.value) keys[entry.key] = toml_text(*entry.value);
  return keys;
}

// One line for each key that differs.
std::string text_of_decks(const AttributeDifference& decks) try {
  const auto in_a = keys_of_deck(decks.in_a), in_b = keys_of_deck(decks.in_b);
  const auto value_in = [](const auto& keys, const std::string& key) {
    const auto found = keys.find(key);
    return found == keys.end() ? "-" : found->second;
  };
  auto either = in_a;
  either.insert(in_b.begin(), in_b.end());
  std::string text;
  for (const auto& [key, _] : either)
    if (value_in(in_a, key) != value_in(in_b, key))
      text += fmt::format("deck, {}: {} and {}\n", key, value_in(in_a, key), value_in(in_b, key));
  return text;
} catch (const InputError&) {  // not a deck of this program
  return "the decks differ\n";
}

}  // namespace

std::string text_of(const Difference& difference, std::size_t most_lines) {
  std::string text;
  std::size_t different = 0;
  for (const DifferenceLine& line : difference.lines)
    if (!line.equal_bits && different++ < most_lines) text += text_of(line);
  if (different > most_lines) text += fmt::format("{:>25}  {} more: --all\n", "", different - most_lines);
  if (!text.empty()) text = fmt::format("{:>12} {:>12}  dataset\n", "largest", "relative") + text;
  const std::size_t all = difference.lines.size();
  text += fmt::format("{} of {} datasets have equal bits\n", all - different, all);
  for (const AttributeDifference& attribute : difference.attributes)
    text += attribute.name == "deck" ? text_of_decks(attribute)
            : attribute.name == "products"
                ? std::string("the ways in which products are made differ\n")
                : fmt::format("{}: {} and {}\n", attribute.name, attribute.in_a, attribute.in_b);
  return text + (difference.equal_bits ? "equal: every bit of what is counted\n"
                                       : fmt::format("different: largest {:.6e}, relative norm {:.6e}\n",
                                                     difference.largest, difference.relative_norm));
}

// JSON has no infinity: it becomes null.
nlohmann::ordered_json json_of(const Difference& difference) {
  nlohmann::ordered_json lines = nlohmann::ordered_json::array(), attributes = nlohmann::ordered_json::array();
  for (const DifferenceLine& line : difference.lines) {
    nlohmann::ordered_json json{{"name", line.name},
                                {"equal", line.equal_bits},
                                {"largest", line.largest},
                                {"relative_norm", line.relative_norm}};
    if (!line.problem.empty()) json["problem"] = line.problem;
    if (line.left_out) json["left_out"] = true;
    lines.push_back(std::move(json));
  }
  for (const AttributeDifference& attribute : difference.attributes)
    attributes.push_back({{"name", attribute.name}, {"a", attribute.in_a}, {"b", attribute.in_b}});
  return {{"a", difference.a.string()},
          {"b", difference.b.string()},
          {"equal", difference.equal_bits},
          {"largest", difference.largest},
          {"relative_norm", difference.relative_norm},
          {"attributes", std::move(attributes)},
          {"datasets", std::move(lines)}};
}

}  // namespace penstock
