// SPDX-License-Identifier: Apache-2.0
#include "run/failure_record.hpp"

#include <unistd.h>

#include <cerrno>

#include "base/error.hpp"
#include "storage/durable_file.hpp"
#include "storage/run_guard.hpp"

namespace penstock {

FailureRecord::FailureRecord(const std::filesystem::path& folder, std::string attempt)
    : folder_(folder), attempt_(std::move(attempt)) {
  folder_.ask_before_naming([path = folder, mine = attempt_] {
    if (attempt_of_guard(path) != mine) throw SystemError(fmt::format("{}: another run attempt has it", path.string()));
  });
}

// An existing file of this name is another rank's report; `link`, unlike `rename`, does not replace it.
bool FailureRecord::keep(const FailureReport& report) const {
  if (attempt_of_guard(folder_.path()) != attempt_) return true;
  const std::filesystem::path temporary = temporary_name(folder_.report());
  write_file(temporary, report.text);
  const bool linked = link(temporary.c_str(), folder_.report().c_str()) == 0;
  const bool is_first = linked || errno != EEXIST;
  if (is_first && !linked)
    publish(temporary, folder_.report());  // a file system without links
  else
    discard(temporary);
  if (is_first) folder_.record(AttemptEnd::failed, report.steps_done, 1, report.message);
  return is_first;
}

}  // namespace penstock
