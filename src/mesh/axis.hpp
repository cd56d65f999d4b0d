// SPDX-License-Identifier: Apache-2.0
#pragma once
// Axes of the mesh by name, and sets of them. Here a new axis gets its name; docs/architecture.md, "An axis", says what
// else it takes.

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

/// One axis of a mesh. Any name will do; those that the program gives a meaning stand here.
struct Axis {
  static constexpr std::string_view pipeline = "pipeline";  ///< stages of the model, one after the other
  static constexpr std::string_view data = "data";          ///< replicas, each with samples of its own
  static constexpr std::string_view tensor = "tensor";      ///< parts of every matrix of a stage
  /// Inside the tensor axis (Mesh::factored): neighbours that hold the same heads of k and v.
  static constexpr std::string_view copies = "copies";

  std::string name;
  int size = 1;
  bool operator==(const Axis&) const = default;
};

/// The axes that a group of ranks spans: a set, equal in whatever order they were named.
class AxisSet {
 public:
  AxisSet() = default;
  AxisSet(std::initializer_list<std::string_view> names);
  static AxisSet of(const std::vector<Axis>& axes);

  bool contains(std::string_view axis) const;
  bool empty() const { return names_.empty(); }
  auto begin() const { return names_.begin(); }
  auto end() const { return names_.end(); }
  auto operator<=>(const AxisSet&) const = default;

 private:
  void add(std::string_view name);
  std::vector<std::string> names_;  ///< sorted, each once
};

}  // namespace penstock
