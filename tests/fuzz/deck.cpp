// SPDX-License-Identifier: Apache-2.0
// A deck and the words of --set, from text to RunConfig and back. Lines that begin with "--set " are words of the
// command line; all others are the deck.

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "plan/run_config.hpp"

namespace penstock::fuzz {

namespace {

RunDeck read_deck(std::string_view bytes) {
  constexpr std::string_view override_mark = "--set ";
  std::string text;
  std::vector<std::string_view> overrides;
  for (const std::string_view line : lines_of(bytes))
    if (line.starts_with(override_mark))
      overrides.push_back(line.substr(override_mark.size()));
    else
      text += std::string(line) + "\n";
  Deck deck = Deck::parse(text, "deck.toml");
  for (const std::string_view word : overrides) deck.set(word);
  return read_run_deck(deck);
}

}  // namespace

void feed_deck(std::string_view bytes) {
  RunDeck run;
  if (!accepts([&] { run = read_deck(bytes); })) return;
  promise(run.config.microbatches() >= 1, "a step has a microbatch");
  promise(run.config.make_mesh().size() >= 1, "a mesh has a rank");
  promise(run.config.tokens_per_step() >= 1, "a step has a token");
  times_subject(run.config);
  // What is in force is written into run folders and checkpoints, and read again there.
  const RunDeck again = read_run_deck(Deck::parse(run.effective, "effective"));
  promise(again.effective == run.effective, "the effective deck reads back as itself");
}

}  // namespace penstock::fuzz
