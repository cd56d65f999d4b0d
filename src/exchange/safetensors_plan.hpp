// SPDX-License-Identifier: Apache-2.0
#pragma once
// SafetensorsPlan: the place and file of each tensor, before a byte is written. A value that every process computes
// identically.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "exchange/safetensors_file.hpp"
#include "tensor/dtype.hpp"

namespace penstock {

/// A tensor that is to be written.
struct PlannedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// One file.
struct SafetensorsShard {
  std::string file;                   ///< "model.safetensors" or "model-00001-of-00002.safetensors"
  std::vector<StoredTensor> tensors;  ///< in the order of their bytes, which is that of their names
  std::string header;                 ///< the file's first bytes
  std::uint64_t bytes = 0;            ///< of the whole file
};

class SafetensorsPlan {
 public:
  /// Tensors are taken in their order, and a new file begins where one more would make more than `most_bytes` >= 1 of
  /// them (a larger one has a file of its own). `type` is float32 or bfloat16. Two tensors of one name are a
  /// LogicError.
  SafetensorsPlan(const std::vector<PlannedTensor>& tensors, DType type, std::uint64_t most_bytes);

  DType type() const { return type_; }
  const std::vector<SafetensorsShard>& shards() const { return shards_; }
  /// The text of model.safetensors.index.json; empty if there is only one file.
  std::string index_text() const;

  /// Where a tensor is.
  struct Place {
    std::size_t shard = 0;
    const StoredTensor* tensor = nullptr;  ///< lives as long as the plan
  };
  /// LogicError if there is none of this name.
  Place find(std::string_view name) const;

 private:
  DType type_;
  std::vector<SafetensorsShard> shards_;
  std::map<std::string, std::pair<std::size_t, std::size_t>, std::less<>> places_;  ///< shard and index in it
};

}  // namespace penstock
