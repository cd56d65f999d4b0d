// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace penstock {

/// Opens /dev/null in place of each closed descriptor among 0, 1 and 2. Otherwise the next file or socket
/// would get that number, and log lines would be written into a checkpoint. To be called before anything is opened.
void open_standard_files();

}  // namespace penstock
