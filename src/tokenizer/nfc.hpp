// SPDX-License-Identifier: Apache-2.0
#pragma once
// Unicode's normal form C, by utf8proc.

#include <string>
#include <string_view>

#include "tokenizer/unicode_table.hpp"

namespace penstock {

/// Whether NFC leaves well-formed text as it is because no code point of it can change, move or join another.
bool is_inert_under_nfc(std::string_view text, const UnicodeTable& table);

/// NFC of well-formed text. utf8proc gets only the code points that the table marks, and the one before each. So
/// changes of newer Unicode versions have no effect, whichever utf8proc is installed.
std::string nfc(std::string_view text, const UnicodeTable& table);

}  // namespace penstock
