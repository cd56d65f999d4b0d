// SPDX-License-Identifier: Apache-2.0
#pragma once
// The mesh: an ordered list of named axes over ranks 0 .. size-1. Pure arithmetic, no MPI.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mesh/axis.hpp"

namespace penstock {

/// A value: axes from the outermost (ranks far apart) to the innermost (neighbouring ranks). An axis that a mesh does
/// not have is one of size 1 to whoever asks, so that code which is about an axis also serves meshes without it.
class Mesh {
 public:
  /// One rank.
  Mesh() = default;
  /// Throws InputError when a size is below 1 or a name appears twice.
  explicit Mesh(std::vector<Axis> outermost_first);
  /// The same ranks, with a name for runs of `size` neighbours on `axis`: groups may span `factor` as if it were an
  /// axis. Throws LogicError where the name is taken or the axis does not consist of such runs.
  Mesh factored(std::string_view axis, std::string_view factor, int size) const;

  int size() const { return size_; }
  /// Without factors: every rank is told by its coordinates on these.
  const std::vector<Axis>& axes() const { return axes_; }
  bool has(std::string_view axis) const { return find(axis).has_value(); }
  /// 1 for an axis that the mesh does not have.
  int size_of(std::string_view axis) const;
  /// 0 for an axis that the mesh does not have.
  int coordinate(int rank, std::string_view axis) const;
  /// The rank whose coordinates are `rank`'s, except `coordinate` along `axis`.
  int neighbour(int rank, std::string_view axis, int coordinate) const;
  /// Ranks that differ from `rank` only along the `spanned` axes, ordered by their coordinates, outermost axis first.
  /// A group is named by the *set* of axes it spans; no axis at all gives `rank` alone.
  std::vector<int> group(int rank, const AxisSet& spanned) const;
  /// Those of `axes` that the mesh has, outermost first: what tells groups of one mesh apart.
  std::vector<std::string> spanned(const AxisSet& axes) const;
  /// "pipeline 2 x data 1 x tensor 2"
  std::string text() const;
  bool operator==(const Mesh&) const = default;

 private:
  /// Ranks from one coordinate to the next, and how many coordinates there are.
  struct Steps {
    int stride = 1;
    int size = 1;
  };
  /// The innermost part of an axis, under a name of its own.
  struct Factor {
    std::string axis;
    std::string name;
    int size = 1;
    bool operator==(const Factor&) const = default;
  };
  std::optional<Steps> find(std::string_view axis_or_factor) const;

  std::vector<Axis> axes_;
  std::vector<Factor> factors_;
  int size_ = 1;
};

}  // namespace penstock
