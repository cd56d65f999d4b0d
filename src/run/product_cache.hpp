// SPDX-License-Identifier: Apache-2.0
#pragma once
// Measured choices of products (ops/linear_choices.hpp) in the user's cache, so that two runs of one deck compute their
// products in the same way and have the same bits.

#include <filesystem>
#include <optional>
#include <string>

namespace penstock {

/// $PENSTOCK_CACHE, else $XDG_CACHE_HOME/penstock, else ~/.cache/penstock; nothing if no variable names a folder.
std::optional<std::filesystem::path> users_cache_folder();

/// One file for each product. It gets its name when it is whole, and keeps it: of several runs that measure at the same
/// moment the first decides for all. A damaged file also keeps its name, and the next version replaces it, so no run
/// can remove what another has just put there. Nothing here throws: if the cache cannot be read or written, products
/// are measured again.
class ProductCache {
 public:
  /// The choices of one `origin`: everything that a choice depends on besides the product. Without a folder nothing is
  /// kept.
  ProductCache(std::optional<std::filesystem::path> folder, std::string origin);

  /// The product's line. Reports a damaged file that has not been replaced.
  std::optional<std::string> find(const std::string& product) const;

  /// Keeps the line of a product, unless another run has kept one meanwhile. Returns the line that is valid from now
  /// on.
  std::string keep(const std::string& product, const std::string& line);

  /// The name of the product's file; of a later version if the ones before are damaged.
  std::filesystem::path file_of(const std::string& product, int version = 0) const;

 private:
  void report_unusable(const std::string& why);

  std::optional<std::filesystem::path> folder_;
  std::string origin_;
};

}  // namespace penstock
