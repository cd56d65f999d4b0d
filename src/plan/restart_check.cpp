// SPDX-License-Identifier: Apache-2.0
#include "plan/restart_check.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "model/families/families.hpp"
#include "plan/run_config.hpp"

namespace penstock {

namespace {

const DeckValue* value_of(const Deck& deck, std::string_view key) {
  const auto found = std::find_if(deck.entries().begin(), deck.entries().end(),
                                  [&](const DeckEntry& entry) { return entry.key == key && entry.value; });
  return found == deck.entries().end() ? nullptr : &*found->value;
}

// Two names of one file count as equal.
bool name_one_file(const DeckValue& a, const DeckValue& b) {
  const auto* first = std::get_if<std::string>(&a.value);
  const auto* second = std::get_if<std::string>(&b.value);
  std::error_code error;
  return first && second && std::filesystem::equivalent(*first, *second, error) && !error;
}

struct KeyOfData {
  std::string_view key;
  std::string_view consequence;
};

constexpr std::string_view key_of_names = "data.train";

constexpr std::array keys_of_data{
    KeyOfData{"run.seed", "data order and dropout change here"},
    KeyOfData{key_of_names, "samples are counted on, in another text"},
    KeyOfData{"data.sequence", "samples are counted on, of another length: tokens that were seen may come again"},
    KeyOfData{"batch.global", "steps are of another size from here on, with the next samples that were not drawn yet"},
};

// The meaning of a key of [model]: in some keys a 0 represents another number.
std::optional<FieldValue> model_value(const Deck& deck, std::string_view key) {
  ModelConfig model;
  FieldTable table;
  model.describe(table);
  Mistakes of_other_sections;
  table.read(deck, of_other_sections);
  if (!table.given(key) || !table.usable({key})) return std::nullopt;
  model = model.spelled_out();
  for (const Field& field : table.fields())
    if (field.key() == key) return field.value();
  return std::nullopt;
}

// Everything that determines the learning rate of a step.
struct RatePlan {
  OptimizerConfig optimizer;
  std::int64_t steps = 0;

  /// As the update uses it.
  float rate_of(std::int64_t step) const { return static_cast<float>(learning_rate(optimizer, step, steps)); }
};

constexpr std::array keys_of_rate{std::string_view("run.steps"),
                                  std::string_view("optimizer.learning_rate"),
                                  std::string_view("optimizer.warmup"),
                                  std::string_view("optimizer.decay"),
                                  std::string_view("optimizer.decay_steps"),
                                  std::string_view("optimizer.decay_shape"),
                                  std::string_view("optimizer.final")};

// Nothing if the deck does not say enough.
std::optional<RatePlan> rate_plan_of(const Deck& deck) {
  RatePlan plan;
  RunConfig::Run run;
  FieldTable table;
  run.describe(table);
  plan.optimizer.describe(table);
  Mistakes of_other_sections;
  table.read(deck, of_other_sections);
  for (const std::string_view key : keys_of_rate)
    if (!table.usable({key})) return std::nullopt;
  plan.steps = run.steps;
  return plan;
}

}  // namespace

RestartCheck::RestartCheck(std::filesystem::path checkpoint, const RunRecord& before, const RunRecord& now)
    : checkpoint_(std::move(checkpoint)),
      before_(Deck::parse(before.deck, checkpoint_.string() + ", attribute deck")),
      now_(Deck::parse(now.deck, "deck")) {
  if (!before.data.empty())
    data_before_ = parse_data_identity(before.data, checkpoint_.string() + ": the attribute data");
  if (!now.data.empty()) data_now_ = parse_data_identity(now.data, "the data of this run");
}

void RestartCheck::ensure_same_function() const {
  // Keys that change no shape; the rest of the model is compared with the file's contents.
  std::vector<std::string_view> keys{"model.family"};
  for (const Family& family : families())
    keys.insert(keys.end(), family.keys_of_function.begin(), family.keys_of_function.end());
  for (const std::string_view key : keys) {
    const std::optional<FieldValue> before = model_value(before_, key), now = model_value(now_, key);
    if (before && now && *before != *now)
      throw_input_error(
          "{}: holds another model: {} is {} in the file, {} in the deck; use the deck that this checkpoint was "
          "written "
          "with (`penstock checkpoint show` prints it)",
          checkpoint_.string(), key, toml_text(*before), toml_text(*now));
  }
}

void RestartCheck::ensure_same_data() const {
  if (!data_changed() || may_continue()) return;
  if (const auto change = change_of_tokenizer())
    throw_input_error(
        "{}: data.train was made with another tokenizer than the data that this checkpoint was trained on: {}; the "
        "same "
        "numbers mean other tokens; make the file with the checkpoint's tokenizer, `penstock tokenize --tokenizer "
        "FILE`, or, where both give the same ids (one file, saved anew), go on with data.changed = \"continue\"",
        checkpoint_.string(), *change);
  throw_input_error(
      "{}: data.train is not the data that this checkpoint was trained on: {}; samples are numbered by the data, so "
      "that some would come again and others never; name the file that it was trained on, or go on with this one with "
      "data.changed = \"continue\"",
      checkpoint_.string(), change_of_data());
}

bool RestartCheck::data_changed() const {
  // The digest covers what a file says of its tokenizer; of a file of version 1, earlier programs said more than it
  // did.
  const auto are_one = [](const DataSource& a, const DataSource& b) {
    return a.tokens == b.tokens && a.digest == b.digest && a.weight == b.weight;
  };
  return records_data() &&
         !std::equal(data_before_.begin(), data_before_.end(), data_now_.begin(), data_now_.end(), are_one);
}

bool RestartCheck::may_continue() const {
  const DeckValue* value = value_of(now_, "data.changed");
  const auto* word = value ? std::get_if<std::string>(&value->value) : nullptr;
  return word && *word == "continue";
}

std::optional<std::string> RestartCheck::change_of_tokenizer() const {
  for (const DataSource& before : data_before_)
    for (const DataSource& now : data_now_)
      if (are_different_tokenizers(before.tokenizer, now.tokenizer))
        return fmt::format("{} then, {} now", before.tokenizer, now.tokenizer);
  return std::nullopt;
}

std::string RestartCheck::change_of_data() const {
  return fmt::format("{} then, {} now", text_of(data_before_), text_of(data_now_));
}

std::vector<std::string> RestartCheck::changes_of_data() const {
  std::vector<std::string> lines;
  if (!records_data() && !data_now_.empty())
    lines.push_back(
        fmt::format("{} does not record which data it was trained on (an earlier Penstock wrote it): the name of "
                    "data.train decides, and a file that was changed under its name is not noticed",
                    checkpoint_.string()));
  if (const auto change = change_of_tokenizer())
    lines.push_back(fmt::format(
        "data.train was made with another tokenizer than the data that {} was trained on: {}; data.changed = "
        "\"continue\": the same numbers may mean other tokens",
        checkpoint_.string(), *change));
  if (data_changed())
    lines.push_back(fmt::format(
        "data.train is not the data that {} was trained on: {}; data.changed = \"continue\": samples are counted on in "
        "the new data, and some may come again",
        checkpoint_.string(), change_of_data()));
  for (const auto& [key, consequence] : keys_of_data) {
    if (key == key_of_names && records_data()) continue;  // the contents of the files decide
    const DeckValue *before = value_of(before_, key), *now = value_of(now_, key);
    if (before && now && *before != *now && !name_one_file(*before, *now))
      lines.push_back(fmt::format("the checkpoint was made with {} = {}, the deck says {}: {}", key, toml_text(*before),
                                  toml_text(*now), consequence));
  }
  return lines;
}

std::optional<std::string> RestartCheck::change_of_rate(std::int64_t step) const {
  const std::optional<RatePlan> before = rate_plan_of(before_), now = rate_plan_of(now_);
  if (!before || !now || before->rate_of(step + 1) == now->rate_of(step + 1)) return std::nullopt;
  std::vector<std::string> changes;
  for (const std::string_view key : keys_of_rate) {
    const DeckValue *old_value = value_of(before_, key), *new_value = value_of(now_, key);
    if (old_value && new_value && *old_value != *new_value)
      changes.push_back(fmt::format("{} was {} and is {}", key, toml_text(*old_value), toml_text(*new_value)));
  }
  return fmt::format(
      "the learning rate of step {} is {:.6g}, and would be {:.6g} with the deck that the checkpoint was made with: "
      "{}; keep the old values where no jump is meant",
      step + 1, now->rate_of(step + 1), before->rate_of(step + 1), fmt::join(changes, ", "));
}

std::vector<std::int64_t> RestartCheck::steps_before(std::string_view key) const {
  std::vector<std::int64_t> steps;
  const DeckValue* value = value_of(before_, key);
  if (const auto* list = value ? std::get_if<DeckList>(&value->value) : nullptr)
    for (const DeckValue& element : *list)
      if (const auto* step = std::get_if<std::int64_t>(&element.value)) steps.push_back(*step);
  return steps;
}

std::optional<std::int64_t> RestartCheck::earlier_sequence() const {
  const DeckValue* value = value_of(before_, "data.sequence");
  const auto* sequence = value ? std::get_if<std::int64_t>(&value->value) : nullptr;
  return sequence ? std::optional(*sequence) : std::nullopt;
}

}  // namespace penstock
