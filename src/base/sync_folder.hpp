// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace penstock {

/// Makes renames and removals in `folder` (empty: the working directory) durable: returns when its entries are on the
/// device. Throws SystemError.
void sync_folder(const std::filesystem::path& folder);

}  // namespace penstock
