// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which algorithm makes each product of a layer, chosen by measuring on the device. The choice is a text that a run
// keeps: with the same text, card and library the same products have the same bits.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/linear.hpp"

namespace penstock::ops {

/// Times the ways to compute the products of these shapes, and returns the fastest: a line with the column names, one
/// line for each product, and a last line with their number. Lines of `known` (the result of an earlier call, or empty)
/// stay unchanged, and their products are not timed again. Lines that another card or library version wrote also stay,
/// after the others (up to 1000 of them), so that a run which returns there continues as before. Waits for the device
/// and takes some of its memory meanwhile, so it is for the time before step 1. Empty if the backend has nothing to
/// choose (the CPU's). Throws InputError naming the line if `known` is damaged or not whole.
std::string measure_linear_choices(Queue& queue, std::span<const LinearShape> shapes, const std::string& known);

/// From here on the queue computes its products as the text says, and those it does not name by default. Lines of other
/// cards and library versions are ignored. Throws InputError naming the line if the text is damaged or not whole, the
/// library refuses its algorithm, or the order of a sum would not be fixed with it.
void use_linear_choices(Queue& queue, const std::string& choices);

/// The names in the text.
struct LinearChoiceNames {
  /// Card, driver and versions of the libraries, for which a measured choice is valid. Empty if the backend has nothing
  /// to choose (the CPU's); then the rest is empty, too.
  std::string origin;
  std::string columns;                ///< the text's first line
  std::vector<std::string> products;  ///< the cells that each product's line begins with, in the order of measuring
};
LinearChoiceNames linear_choice_names(std::span<const LinearShape> shapes);

/// The beginning of the text's last line, before a tab and the number of products.
inline constexpr std::string_view end_of_choices = "end";
/// The first cell after a product's name if there was no choice: no algorithm, or no memory to try one.
inline constexpr std::string_view default_choice = "default";

}  // namespace penstock::ops
