// SPDX-License-Identifier: Apache-2.0
#pragma once
// Measured choices of products (ops/linear_choices.hpp) in the user's cache, so that two runs of one deck make their
// products in the same way and have the same bits.

#include <filesystem>
#include <optional>
#include <string>

namespace penstock {

/// $PENSTOCK_CACHE, else $XDG_CACHE_HOME/penstock, else ~/.cache/penstock; nothing where no variable names a folder.
std::optional<std::filesystem::path> users_cache_folder();

/// A file for each product: whole or not there, and never changed once it is there, so that the first of several runs
/// that measure at the same moment decides for all of them. Nothing here throws: a cache that cannot be read or written
/// only means that products are measured again.
class ProductCache {
 public:
  /// The choices of one `origin`: all that a choice depends on besides the product. Without a folder nothing is kept.
  ProductCache(std::optional<std::filesystem::path> folder, std::string origin);

  /// The product's line. A damaged file is reported and counts as none.
  std::optional<std::string> find(const std::string& product) const;

  /// Keeps the line of a product, unless another run has kept one meanwhile. Returns the line that holds from now on.
  std::string keep(const std::string& product, const std::string& line);

  /// Where the product's file is or would be.
  std::filesystem::path file_of(const std::string& product) const;

 private:
  void report_unusable(const std::string& why);

  std::optional<std::filesystem::path> folder_;
  std::string origin_;
};

}  // namespace penstock
