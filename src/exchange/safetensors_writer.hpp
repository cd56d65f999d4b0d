// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writing the files of a SafetensorsPlan by one process or by several at once: no byte is written twice, and nothing
// has its final name before all of it is on the device.
//
//   one process:  prepare_safetensors
//   each process, after it:  SafetensorsWriter: write..., finish
//   one process, after all others:  publish_safetensors  (or, where one failed, discard_safetensors)

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_descriptor.hpp"
#include "exchange/safetensors_plan.hpp"

namespace penstock {

/// Makes the folder, where it is not there, and each file with its header and its full size, under temporary names with
/// `mark` in them, which the other processes have to be given. Throws InputError where the folder cannot be made, or
/// holds a model already; SystemError where writing fails.
void prepare_safetensors(const std::filesystem::path& folder, const SafetensorsPlan& plan, std::string_view mark);

/// Writes parts of tensors. Processes, and threads with writers of their own, write at the same time.
class SafetensorsWriter {
 public:
  /// `plan` outlives it.
  SafetensorsWriter(std::filesystem::path folder, const SafetensorsPlan& plan, std::string_view mark);

  /// Writes a part of a tensor: its element (r, c) is values[r * stride + c]. Throws SystemError.
  void write(std::string_view tensor, const MatrixPart& part, const float* values, std::int64_t stride);
  /// The same, where element (r, c) of the part is values[c * stride + r].
  void write_transposed(std::string_view tensor, const MatrixPart& part, const float* values, std::int64_t stride);
  /// Returns when all that this writer wrote is on the device; nothing is written after it.
  void finish();

 private:
  void write_bytes(FileDescriptor& file, std::uint64_t offset, std::span<const std::byte> bytes);
  void write_run(FileDescriptor& file, std::uint64_t offset, const float* values, std::int64_t count);
  FileDescriptor& file(std::size_t shard);

  std::filesystem::path folder_;
  const SafetensorsPlan* plan_;
  std::string mark_;
  std::vector<std::optional<FileDescriptor>> files_;  ///< of those shards that this process writes in
  std::vector<std::byte> stored_;
  std::uint64_t not_asked_for_ = 0;  ///< bytes written since the system was last asked to bring them to the device
};

/// Gives the files their names, those of `more_files` (name and text, written here) with them, and the index at last:
/// without it no program reads shards.
void publish_safetensors(const std::filesystem::path& folder, const SafetensorsPlan& plan, std::string_view mark,
                         const std::vector<std::pair<std::string, std::string>>& more_files);

/// Removes all temporary files of this mark; what is not there is no failure.
void discard_safetensors(const std::filesystem::path& folder, std::string_view mark) noexcept;

}  // namespace penstock
