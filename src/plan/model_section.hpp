// SPDX-License-Identifier: Apache-2.0
#pragma once
// The [model] section of a deck by itself: of weights that were made elsewhere, and beside that of a run's deck.

#include <string>
#include <string_view>

#include "config/deck.hpp"
#include "model/model_config.hpp"

namespace penstock {

/// The section as TOML, with the keys of the model's family.
std::string model_section(const ModelConfig& model);

/// What a deck says in [model]; its other sections do not matter. Throws InputError with all mistakes, and where it has
/// no such section.
ModelConfig read_model_section(const Deck& deck);

/// Completes a deck with what `model`, of weights that were made elsewhere, says in [model]; `place` says where that
/// stands ("DIR/config.json"). Dropout stays the deck's own. Throws one InputError with all keys that the deck says
/// otherwise: with these weights it would be another model. (A deck may have fewer positions, where these are rotary.)
void take_model_of_weights(Deck& deck, const ModelConfig& model, std::string_view place);

}  // namespace penstock
