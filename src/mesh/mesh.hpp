// SPDX-License-Identifier: Apache-2.0
#pragma once
// The mesh: an ordered list of named axes over ranks 0 .. size-1. Pure arithmetic, no MPI.

#include <string>
#include <string_view>
#include <vector>

namespace penstock {

struct Axis {
  std::string name;
  int size = 1;
  bool operator==(const Axis&) const = default;
};

/// A value: axes from the outermost (ranks far apart) to the innermost (neighbouring ranks).
class Mesh {
 public:
  /// Throws InputError when a size is below 1 or a name appears twice.
  explicit Mesh(std::vector<Axis> outermost_first);

  int size() const { return size_; }
  const std::vector<Axis>& axes() const { return axes_; }
  /// 1 for an axis that the mesh does not have.
  int size_of(std::string_view axis) const;
  /// 0 for an axis that the mesh does not have.
  int coordinate(int rank, std::string_view axis) const;
  /// The rank whose coordinates are `rank`'s, except `coordinate` along `axis`.
  int neighbour(int rank, std::string_view axis, int coordinate) const;
  /// Ranks that differ from `rank` only along the `spanned` axes, ordered by their coordinates, outermost axis first.
  /// A group is named by the *set* of axes it spans; no axis at all gives `rank` alone.
  std::vector<int> group(int rank, const std::vector<std::string>& spanned) const;
  /// "pipeline 2 x data 1 x tensor 2"
  std::string text() const;
  bool operator==(const Mesh&) const = default;

 private:
  int stride_of(std::size_t axis) const;
  std::vector<Axis> axes_;
  int size_ = 1;
};

}  // namespace penstock
