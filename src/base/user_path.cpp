// SPDX-License-Identifier: Apache-2.0
#include "base/user_path.hpp"

#include "base/error.hpp"

namespace penstock {

std::filesystem::path absolute_path(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path whole = std::filesystem::absolute(path, error);
  if (error && !path.empty())
    throw_input_error(
        "{}: starts from the working folder, and that cannot be named ({}; was it deleted?); `cd` to a folder that is "
        "there, or name a path from the root",
        path.string(), error.message());
  return whole;
}

std::filesystem::file_status status_of_path(const std::filesystem::path& path, std::string_view cure) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) absolute_path(path);  // says what else is gone
  if (status.type() == std::filesystem::file_type::none)
    throw_input_error("{}: cannot be looked at: {}; {}", path.string(), error.message(), cure);
  return status;
}

}  // namespace penstock
