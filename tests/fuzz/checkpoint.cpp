// SPDX-License-Identifier: Apache-2.0
// Checkpoints and captures: what `penstock checkpoint show` and `verify` do with a file, and what a restart asks it.

#include <nlohmann/json.hpp>

#include "checkpoint/inspect.hpp"
#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "fuzz/hdf5_checksums.hpp"

namespace penstock::fuzz {

namespace {

void read_all(const std::string& path) {
  ArrayReader reader(path, {checkpoint_format, capture_format});
  const Shown shown{path, reader.file_bytes(), reader.contents()};
  text_of(shown);
  json_of(shown).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text_attribute(reader.contents(), "format") == checkpoint_format.name) accepts([&] { info_of(reader); });
  Progress progress;
  verify_share(reader, 0, 1, progress);
  promise(progress.bytes() <= 1100 * reader.file_bytes(), "memory is taken by shapes that the file can hold");
}

// Of the superblock and the root group, which HDF5 has looked at. (Others may lie in a file and be of nothing.)
bool checksums_are_right(std::string_view bytes) {
  std::string mended(bytes);
  std::vector<Checksummed> structures = checksummed_structures(bytes);
  std::erase_if(structures, [&](const Checksummed& structure) {
    return structure.begin != 0 && structure.begin != root_group(bytes);
  });
  mend_checksums(mended, structures);
  return mended == bytes;
}

// Why the bytes are refused; empty where they are taken.
std::string refusal_of(std::string_view bytes) {
  const MemoryFile file(bytes);
  std::string refusal;
  accepts([&] {
    try {
      read_all(file.path());
    } catch (const std::exception& error) {
      refusal = error.what();
      throw;
    }
  });
  return refusal;
}

}  // namespace

// Nobody guesses a digest of 64 bits: where that alone is wrong, the file is read again with the right one.
void feed_checkpoint(std::string_view bytes) {
  const std::string refusal = refusal_of(bytes);
  if (refusal.empty()) {
    promise(checksums_are_right(bytes), "the harness writes checksums as HDF5 does");
  } else if (const std::string forged = with_digest_found(bytes, refusal); !forged.empty()) {
    refusal_of(forged);
  }
}

}  // namespace penstock::fuzz
