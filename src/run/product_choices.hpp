// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the products of a run are computed, and the source of that choice: the run itself, the checkpoint from which it
// continues, the user's cache, or measuring. Text in, text out: uses no device.

#include <functional>
#include <string>

#include "ops/linear_choices.hpp"
#include "run/product_cache.hpp"

namespace penstock {

struct ProductChoices {
  std::string text;     ///< as returned by ops::measure_linear_choices; empty: nothing was chosen
  std::string sources;  ///< "34 from the cache, 2 measured"
};

/// The sources of choices, in the order in which they are asked; each only for products that are still missing.
struct ProductSources {
  std::string folder;                       ///< text of the run folder's file, or empty
  std::function<std::string()> checkpoint;  ///< text that came with the checkpoint, or empty
  ProductCache* cache = nullptr;
  /// Returns `known` with the missing products measured.
  std::function<std::string(const std::string& known)> measure;
  /// Returns the text in its usual order. Throws InputError naming the line if it is damaged or not whole.
  std::function<std::string(const std::string& text)> check;
};

/// The choices of the products in `names`, followed by all other lines of the run folder's file or the checkpoint,
/// because a run may return to another card. Throws InputError if the folder's file is damaged; a damaged text of a
/// checkpoint is left out, with a warning.
ProductChoices find_product_choices(const ops::LinearChoiceNames& names, const ProductSources& sources);

/// The part of the text that fits into a checkpoint's attribute (HDF5 allows 64 KiB): all, or its first lines as a
/// complete text. Empty if the text is no text of choices.
std::string choices_for_checkpoint(const std::string& text);

}  // namespace penstock
