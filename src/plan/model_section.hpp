// SPDX-License-Identifier: Apache-2.0
#pragma once
// The [model] section of a deck by itself: for weights that were made elsewhere, and compared with that of a run's
// deck.

#include <string>
#include <string_view>

#include "config/deck.hpp"
#include "model/model_config.hpp"

namespace penstock {

/// The section as TOML, with the keys of the model's family.
std::string model_section(const ModelConfig& model);

/// Reads a deck's [model]; its other sections do not matter. Throws InputError with all mistakes, or if there is no
/// such section.
ModelConfig read_model_section(const Deck& deck);

/// Completes a deck's [model] with `model`, that of weights made elsewhere; `place` names its source
/// ("DIR/config.json"). Dropout stays the deck's own. Throws one InputError with all keys that differ in the deck: with
/// these weights it would be another model. (A deck may have fewer positions if these are rotary.)
void take_model_of_weights(Deck& deck, const ModelConfig& model, std::string_view place);

}  // namespace penstock
