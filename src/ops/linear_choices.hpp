// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which algorithm makes each product of a layer, chosen by measuring on the device. The choice is text, which a run
// keeps: with the same text, card and library the same products have the same bits.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/linear.hpp"

namespace penstock::ops {

/// Times how the products of these shapes can be made and returns the fastest ways: a line that names the columns, one
/// line a product, and a last line with their number. Lines of `known` (what an earlier call returned, or empty:
/// nothing is known) stay as they are, and their products are not timed again; those that another card or library
/// version wrote stay, too, behind the others (up to 1000 of them), so that a run which comes back there goes on as
/// before. Waits for the device and takes memory of it for the while: for the time before step 1. Empty where the
/// backend has nothing to choose (the CPU's). Throws InputError naming the line when `known` is damaged or not whole.
std::string measure_linear_choices(Queue& queue, std::span<const LinearShape> shapes, const std::string& known);

/// From here on the queue's products are made as the text says, and those it does not name as by default. Lines of
/// other cards and library versions are passed over. Throws InputError naming the line when the text is damaged or not
/// whole, the library does not take its algorithm, or the order of a sum would not be fixed with it.
void use_linear_choices(Queue& queue, const std::string& choices);

/// How the text names what is measured.
struct LinearChoiceNames {
  /// Card, driver and versions of the libraries: where a measured choice holds. Empty where the backend has nothing to
  /// choose (the CPU's); the rest is empty then, too.
  std::string origin;
  std::string columns;                ///< the text's first line
  std::vector<std::string> products;  ///< the cells that each product's line begins with, in the order of measuring
};
LinearChoiceNames linear_choice_names(std::span<const LinearShape> shapes);

/// What the text's last line begins with, before a tab and the number of products.
inline constexpr std::string_view end_of_choices = "end";
/// The first cell behind a product's name where there was nothing to choose from: no algorithm, or no memory to try
/// one.
inline constexpr std::string_view default_choice = "default";

}  // namespace penstock::ops
