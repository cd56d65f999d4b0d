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

/// A file for each product. It gets its name when it is whole, and keeps it: the first of several runs that measure at
/// the same moment decides for all of them. A damaged file keeps its name, too, and the next version takes its place;
/// so no run can take away what another has just put there. Nothing here throws: where the cache cannot be read or
/// written, products are measured again.
class ProductCache {
 public:
  /// The choices of one `origin`: all that a choice depends on besides the product. Without a folder nothing is kept.
  ProductCache(std::optional<std::filesystem::path> folder, std::string origin);

  /// The product's line. A damaged file that none has taken the place of is reported.
  std::optional<std::string> find(const std::string& product) const;

  /// Keeps the line of a product, unless another run has kept one meanwhile. Returns the line that holds from now on.
  std::string keep(const std::string& product, const std::string& line);

  /// The name of the product's file; of a later version where the ones before are damaged.
  std::filesystem::path file_of(const std::string& product, int version = 0) const;

 private:
  void report_unusable(const std::string& why);

  std::optional<std::filesystem::path> folder_;
  std::string origin_;
};

}  // namespace penstock
