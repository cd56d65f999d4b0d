// SPDX-License-Identifier: Apache-2.0
#include "run/product_choices.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"

namespace penstock {

namespace {

constexpr std::size_t most_attribute_bytes = std::size_t{48} << 10;

std::vector<std::string> whole_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// Lines of products, with the first and last line of a text.
std::string choice_text_of(const std::string& columns, const std::vector<std::string>& lines) {
  std::string text = columns + "\n";
  for (const std::string& line : lines) text += line + "\n";
  return text + fmt::format("{}\t{}\n", ops::end_of_choices, lines.size());
}

// Nothing if the text is not whole.
std::optional<std::vector<std::string>> product_lines_of(const std::string& text) {
  std::vector<std::string> lines = whole_lines(text);
  if (lines.size() < 2) return std::nullopt;
  const std::string columns = lines.front();
  lines.erase(lines.begin());
  lines.pop_back();
  if (choice_text_of(columns, lines) != text) return std::nullopt;
  return lines;
}

// The first cells of a line: the product's name.
std::string name_in(const std::string& line, const std::string& some_name) {
  std::size_t end = line.find('\t');
  for (auto tabs = std::count(some_name.begin(), some_name.end(), '\t'); tabs > 0 && end != std::string::npos; --tabs)
    end = line.find('\t', end + 1);
  return line.substr(0, end);
}

// Collects choices source by source.
class FoundChoices {
 public:
  explicit FoundChoices(const ops::LinearChoiceNames& names) : names_(&names) {}

  std::vector<std::string> missing() const {
    std::vector<std::string> missing;
    for (const std::string& name : names_->products)
      if (!lines_.contains(name)) missing.push_back(name);
    return missing;
  }

  void add(const std::string& name, const std::string& line, std::string_view source) {
    if (!lines_.emplace(name, line).second) return;
    const auto known = std::find_if(counts_.begin(), counts_.end(), [&](const auto& c) { return c.first == source; });
    if (known != counts_.end())
      ++known->second;
    else
      counts_.emplace_back(source, 1);
  }

  /// Takes all lines of a text, also those that nobody asked for.
  void add_all(const std::string& text, std::string_view source) {
    const std::set<std::string> wanted(names_->products.begin(), names_->products.end());
    const std::string& some_name = names_->products.front();
    for (const std::string& line : product_lines_of(text).value_or(std::vector<std::string>{})) {
      const std::string name = name_in(line, some_name);
      if (wanted.contains(name))
        add(name, line, source);
      else if (seen_.insert(name).second)
        others_.push_back(line);
    }
  }

  std::string text() const {
    std::vector<std::string> lines;
    for (const std::string& name : names_->products)
      if (const auto found = lines_.find(name); found != lines_.end()) lines.push_back(found->second);
    lines.insert(lines.end(), others_.begin(), others_.end());
    return lines.empty() ? "" : choice_text_of(names_->columns, lines);
  }

  std::string sources() const {
    std::string text;
    for (const auto& [source, count] : counts_) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, source);
    return text;
  }

 private:
  const ops::LinearChoiceNames* names_;
  std::map<std::string, std::string> lines_;  // by name
  std::vector<std::string> others_;
  std::set<std::string> seen_;  // names of the others
  std::vector<std::pair<std::string_view, int>> counts_;
};

void take_from_checkpoint(FoundChoices& found, const ProductSources& sources) {
  const std::string text = sources.checkpoint();
  if (text.empty()) return;
  try {
    found.add_all(sources.check(text), "from the checkpoint");
  } catch (const InputError& error) {
    log_warning("the choices of products that came with the checkpoint are left out: {}", error.what());
  }
}

void take_from_cache(FoundChoices& found, ProductCache& cache) {
  for (const std::string& name : found.missing())
    if (const auto line = cache.find(name)) found.add(name, *line, "from the cache");
}

// A product that could not be tried for lack of memory concerns only this run.
void measure_missing(FoundChoices& found, const ProductSources& sources) {
  const std::vector<std::string> missing = found.missing();
  std::map<std::string, std::string> measured;
  const std::string text = sources.measure(found.text());
  for (const std::string& line : product_lines_of(text).value_or(std::vector<std::string>{}))
    measured.emplace(name_in(line, missing.front()), line);
  for (const std::string& name : missing) {
    const auto line = measured.find(name);
    ensure(line != measured.end(), "a product that is named is measured");
    const bool chosen = !line->second.starts_with(fmt::format("{}\t{}\t", name, ops::default_choice));
    const std::string kept = chosen ? sources.cache->keep(name, line->second) : line->second;
    found.add(name, kept, kept == line->second ? "measured" : "from the cache");
  }
}

}  // namespace

ProductChoices find_product_choices(const ops::LinearChoiceNames& names, const ProductSources& sources) {
  if (names.products.empty()) return {.text = sources.folder, .sources = ""};
  FoundChoices found(names);
  if (!sources.folder.empty()) found.add_all(sources.check(sources.folder), "from the run folder");
  if (!found.missing().empty()) take_from_checkpoint(found, sources);
  if (!found.missing().empty()) take_from_cache(found, *sources.cache);
  if (!found.missing().empty()) measure_missing(found, sources);
  return {.text = sources.check(found.text()), .sources = found.sources()};
}

std::string choices_for_checkpoint(const std::string& text) {
  auto lines = product_lines_of(text);
  if (!lines) return "";
  if (text.size() <= most_attribute_bytes) return text;
  const std::string columns = text.substr(0, text.find('\n'));
  std::size_t bytes = columns.size() + 64, fitting = 0;
  while (fitting < lines->size() && bytes + (*lines)[fitting].size() < most_attribute_bytes)
    bytes += (*lines)[fitting++].size() + 1;
  lines->resize(fitting);
  return lines->empty() ? "" : choice_text_of(columns, *lines);
}

}  // namespace penstock
