// SPDX-License-Identifier: Apache-2.0
#pragma once
// Checkpoints: the whole state of training as global arrays under global names. A load reads the boxes that a rank
// owns, so that loading on another mesh is the same code.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/array_file.hpp"
#include "checkpoint/array_reader.hpp"
#include "parameter/parameter_set.hpp"

namespace penstock {

/// The point of training to which the state belongs.
struct CheckpointMeta {
  std::int64_t step = 0;     ///< updates done
  std::int64_t samples = 0;  ///< drawn so far
  std::int64_t seed = 0;
  std::string deck;           ///< the effective deck, TOML
  std::string data = {};      ///< identifies the data, JSON; empty: not in the file
  std::string products = {};  ///< how products are computed (ops/linear_choices.hpp); empty: not in the file
  bool has_moments = true;    ///< false: the file holds parameters only, and says so
};

/// The attributes of a checkpoint file.
struct CheckpointInfo {
  std::string format;
  std::int64_t format_version = 0;
  CheckpointMeta meta;
  bool complete = false;
  std::vector<ArrayInfo> datasets;
  std::uint64_t file_bytes = 0;
};

/// The three arrays of each parameter.
enum class State { parameters, first_moment, second_moment };
inline constexpr State states[] = {State::parameters, State::first_moment, State::second_moment};
/// "/parameters/", "/optimizer/first_moment/" or "/optimizer/second_moment/" and the name as one link.
std::string path_of(State state, const std::string& parameter);

/// "step-00000100.h5"
std::string checkpoint_name(std::int64_t step);

/// This rank's state of an owned box in host memory, dense; it must stay valid until the save or load has returned.
using StateMemory = std::function<float*(State state, const OwnedBox& owned)>;
/// The state of a ParameterSet in host memory. The set must outlive the result.
StateMemory memory_of(const ParameterSet& parameters);

/// The same, read-only, for a save.
using StateSource = std::function<const float*(State state, const OwnedBox& owned)>;
/// The staged state of a ParameterSet. The set must outlive the result.
StateSource staged_of(const ParameterSet& parameters);

/// The arrays of a checkpoint and their pieces, a pure function of the layouts of all ranks.
std::vector<ArraySpec> checkpoint_arrays(const std::vector<ParameterSpec>& specs,
                                         const std::vector<ParameterLayout>& layouts);

struct SaveOptions {
  /// See ArrayFile: the run folder's guard.
  std::function<void()> ensure_mine = {};
  std::function<void()> sync_others = {};  ///< see ArrayFile
  std::size_t round_bytes = std::size_t{64} << 20;
  Progress* progress = nullptr;  ///< see ArrayFile
};

/// Collective: writes `folder`/step-XXXXXXXX.h5 with master weights and moments of the whole model. `layouts` holds the
/// layout of every rank, in rank order; of several equal copies the counted one is written. Does not throw if the file
/// could not be written: see SaveOutcome. The folder must exist.
SaveOutcome save_checkpoint(World& world, Writers& writers, const std::filesystem::path& folder,
                            const CheckpointMeta& meta, const std::vector<ParameterSpec>& specs,
                            const std::vector<ParameterLayout>& layouts, const StateSource& memory,
                            const SaveOptions& options = {});

/// CannotOpen on all ranks: one rank that cannot open the file is enough.
class CollectiveCannotOpen : public CollectiveFailure {
 public:
  using CollectiveFailure::CollectiveFailure;
};

/// Collective: checks every chunk of a checkpoint, distributed over the ranks, against its checksum, and returns its
/// attributes. Throws CollectiveFailure (exit code 2) on all ranks if the file is not a whole checkpoint or is damaged;
/// CollectiveCannotOpen if any rank cannot open it.
CheckpointInfo verify_checkpoint(World& world, IoThread& io, const std::filesystem::path& path,
                                 double quiet_seconds = default_quiet_seconds);

struct LoadOptions {
  bool verified = false;         ///< the file was just verified: does not do it again
  bool parameters_only = false;  ///< moments begin at zero, whatever the file contains
  double quiet_seconds = default_quiet_seconds;
};

/// Collective: verifies the checkpoint, then fills master weights and both moments of all boxes of this rank, on any
/// mesh; moments with zeros if the file has none. Weights that a rank does not own must be gathered afterwards, as at
/// the start of every step. Throws CollectiveFailure (exit code 2), before anything is changed, if the file is damaged
/// or holds another model; the message names the first difference.
CheckpointInfo load_checkpoint(World& world, IoThread& io, const std::filesystem::path& path,
                               const std::vector<ParameterSpec>& specs, const ParameterLayout& layout,
                               const StateMemory& memory, const LoadOptions& options = {});

/// The attributes of a checkpoint file.
std::vector<Attribute> checkpoint_attributes(const CheckpointMeta& meta);

/// The attributes of an open checkpoint.
CheckpointInfo info_of(const ArrayReader& reader);

/// Throws InputError with the first difference between the model and the file's contents: parameters, and their moments
/// unless the file says that it has none.
void ensure_same_model(const std::filesystem::path& path, const CheckpointInfo& info,
                       const std::vector<ParameterSpec>& specs);

}  // namespace penstock
