// SPDX-License-Identifier: Apache-2.0
#pragma once
// NameTable: a family's parameters, written down line by line.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exchange/exchanged_parameter.hpp"

namespace penstock {

class NameTable {
 public:
  static constexpr std::int64_t no_columns = 0;  ///< of a parameter with one dimension

  /// `prefix` goes before the names of all tensors but the head's.
  explicit NameTable(std::string_view prefix) : prefix_(prefix) {}

  void vector(const std::string& name, std::int64_t length, const std::string& tensor) {
    rows(name, no_columns, {{tensor, length}});
  }
  void matrix(const std::string& name, std::int64_t out, std::int64_t in, const std::string& tensor) {
    rows(name, in, {{tensor, out}});
  }
  /// A matrix [out, in] whose tensor is [in, out].
  void transposed(const std::string& name, std::int64_t out, std::int64_t in, const std::string& tensor) {
    matrix(name, out, in, tensor);
    parameters_.back().pieces.front().transposed = true;
  }
  /// Tensors with their rows, one after the other.
  void rows(const std::string& name, std::int64_t columns,
            const std::vector<std::pair<std::string, std::int64_t>>& tensors) {
    ExchangedParameter parameter{.name = name, .shape = {}, .pieces = {}};
    std::int64_t row = 0;
    for (const auto& [tensor, count] : tensors) {
      parameter.pieces.push_back({.tensor = prefix_ + tensor, .first_row = row, .rows = count});
      row += count;
    }
    parameter.shape = columns == no_columns ? Shape{row} : Shape{row, columns};
    parameters_.push_back(std::move(parameter));
  }
  void head(std::int64_t vocabulary, std::int64_t width) {
    matrix("head.weight", vocabulary, width, "");
    parameters_.back().pieces.front().tensor = head_tensor;
  }
  std::vector<ExchangedParameter> take() { return std::move(parameters_); }

  static constexpr const char* head_tensor = "lm_head.weight";

 private:
  std::string prefix_;
  std::vector<ExchangedParameter> parameters_;
};

}  // namespace penstock
