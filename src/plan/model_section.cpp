// SPDX-License-Identifier: Apache-2.0
#include "plan/model_section.hpp"

#include "config/mistakes.hpp"
#include "model/families/families.hpp"

namespace penstock {

namespace {

constexpr std::string_view section = "model.", own_of_decks = "model.dropout_", key_of_positions = "model.positions";

bool is_of_model(std::string_view key) { return key.starts_with(section); }

Deck model_alone(const Deck& deck) {
  Deck alone(deck.name());
  for (const DeckEntry& entry : deck.entries())
    if (is_of_model(entry.key) && entry.value) alone.add(entry.key, *entry.value, entry.place);
  return alone;
}

// The keys of a model and their values; must not move.
struct ModelTable {
  ModelConfig model;
  FieldTable table;
  explicit ModelTable(ModelConfig its) : model(std::move(its)) { model.describe(table); }
  ModelTable(const ModelTable&) = delete;
  ModelTable& operator=(const ModelTable&) = delete;
};

// An epsilon is used in single precision, and files have it in either precision.
bool mean_the_same(const FieldValue& a, const FieldValue& b) {
  const auto *x = std::get_if<double>(&a), *y = std::get_if<double>(&b);
  return a == b || (x && y && static_cast<float>(*x) == static_cast<float>(*y));
}

bool may_be_fewer(std::string_view key, const FieldValue& deck, const FieldValue& weights, const ModelConfig& model) {
  const auto *fewer = std::get_if<std::int64_t>(&deck), *all = std::get_if<std::int64_t>(&weights);
  return key == key_of_positions && fewer && all && *fewer <= *all && !describe_model(model).learned_positions;
}

// Only checks the [model] keys; mistakes in others are found when the deck is read.
void refuse_another_model(const Deck& deck, const ModelConfig& weights, std::string_view place) {
  ModelTable said{ModelConfig{}};
  Mistakes of_the_deck;
  said.table.read(deck, of_the_deck);
  const ModelTable here(said.model.spelled_out()), there(weights.spelled_out());
  Mistakes mistakes;
  for (std::size_t i = 0; i < here.table.fields().size(); ++i) {
    const Field &ours = here.table.fields()[i], &theirs = there.table.fields()[i];
    const std::string& key = ours.key();
    if (!deck.says(key) || key.starts_with(own_of_decks) || !said.table.usable({key})) continue;
    if (!has_key(weights, key)) continue;
    if (mean_the_same(ours.value(), theirs.value()) || may_be_fewer(key, ours.value(), theirs.value(), weights))
      continue;
    mistakes.add(
        "{}: {} = {}, and {} = {} in {}: these weights are of another model; leave the key out, or name other "
        "weights",
        said.table.where(key), key, toml_text(ours.value()), key, toml_text(theirs.value()), place);
    if (key == "model.family") break;  // then nothing else can agree
  }
  mistakes.throw_if_any();
}

}  // namespace

std::string model_section(const ModelConfig& model) {
  ModelTable said(model);
  // The echo leaves out required keys that were not read, so it is read back.
  std::string text = "[model]\n";
  for (const Field& field : said.table.fields())
    if (has_key(model, field.key()) && !field.key().starts_with(own_of_decks))
      text += fmt::format("{} = {}\n", field.name(), toml_text(field.value()));
  return text;
}

ModelConfig read_model_section(const Deck& deck) {
  ModelTable read{ModelConfig{}};
  read.table.read(model_alone(deck));
  return read.model;
}

void take_model_of_weights(Deck& deck, const ModelConfig& model, std::string_view place) {
  const Deck of_weights = Deck::parse(model_section(model), std::string(place));
  Deck whole = model_alone(deck);
  for (const DeckEntry& entry : of_weights.entries())
    if (entry.value && !whole.says(entry.key)) whole.add(entry.key, *entry.value, std::string(place));
  refuse_another_model(whole, model, place);
  for (const DeckEntry& entry : of_weights.entries())
    if (entry.value && !deck.says(entry.key)) deck.add(entry.key, *entry.value, std::string(place));
}

}  // namespace penstock
