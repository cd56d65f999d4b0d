// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the products of a run are made, and where that is known from: the run itself, the checkpoint that it goes on
// from, the user's cache, or measuring. Text in, text out: no device here.

#include <functional>
#include <string>

#include "ops/linear_choices.hpp"
#include "run/product_cache.hpp"

namespace penstock {

struct ProductChoices {
  std::string text;     ///< as ops::measure_linear_choices returns it; empty: nothing was chosen
  std::string sources;  ///< "34 from the cache, 2 measured"
};

/// Where choices come from, in the order in which they are asked; each only for what is still missing.
struct ProductSources {
  std::string folder;                       ///< text of the run folder's file, or empty
  std::function<std::string()> checkpoint;  ///< text that came with the checkpoint, or empty
  ProductCache* cache = nullptr;
  /// Returns `known` with the missing products measured.
  std::function<std::string(const std::string& known)> measure;
  /// Returns the text in its usual order. Throws InputError naming the line where it is damaged or not whole.
  std::function<std::string(const std::string& text)> check;
};

/// The choices of the products that `names` names, and behind them all other lines that the run folder's file or the
/// checkpoint holds: a run may come back to another card. Throws InputError where the folder's file is damaged; what a
/// checkpoint holds is left out then, with a warning.
ProductChoices find_product_choices(const ops::LinearChoiceNames& names, const ProductSources& sources);

/// What a checkpoint's attribute can hold (HDF5 allows 64 KiB): the text, or its first lines, whole in itself. Empty
/// where the text is no text of choices.
std::string choices_for_checkpoint(const std::string& text);

}  // namespace penstock
