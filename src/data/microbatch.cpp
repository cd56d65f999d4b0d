// SPDX-License-Identifier: Apache-2.0
#include "data/microbatch.hpp"

#include "base/error.hpp"

namespace penstock {

std::uint64_t samples_in_file(const TokenFileHeader& header, const std::filesystem::path& path, int sequence) {
  if (sequence < 1) throw_input_error("data.sequence = {}: must be at least 1", sequence);
  const std::uint64_t length = static_cast<std::uint64_t>(sequence);
  if (header.tokens < length + 1)
    throw_input_error(
        "{}: holds {} tokens, and one sample of data.sequence = {} needs {} (the last one is a target); "
        "use a longer text{}",
        path.string(), header.tokens, sequence, length + 1,
        header.tokens < 2 ? "" : fmt::format(", or data.sequence of {} or less", header.tokens - 1));
  return (header.tokens - 1) / length;
}

void append_samples(const TokenFile& file, std::uint64_t first, int count, int sequence, Microbatch& microbatch) {
  ensure(count >= 0 && sequence >= 1, "append_samples: a count or sequence below its least");
  if (count == 0) return;
  const std::uint64_t length = static_cast<std::uint64_t>(sequence);
  std::vector<std::int32_t> run(static_cast<std::size_t>(count) * length + 1);  // neighbours share a token
  file.read(first * length, run);
  microbatch.tokens.insert(microbatch.tokens.end(), run.begin(), run.end() - 1);
  microbatch.targets.insert(microbatch.targets.end(), run.begin() + 1, run.end());
}

Microbatch read_samples(const TokenFile& file, std::uint64_t first, int count, int sequence) {
  Microbatch microbatch{.first_sample = first};
  append_samples(file, first, count, sequence, microbatch);
  return microbatch;
}

}  // namespace penstock
