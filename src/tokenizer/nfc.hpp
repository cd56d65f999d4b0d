// SPDX-License-Identifier: Apache-2.0
#pragma once
// Unicode's normal form C, by utf8proc.

#include <string>
#include <string_view>

#include "tokenizer/unicode_table.hpp"

namespace penstock {

/// Whether no code point of well-formed text can change, move or join another under NFC, so that NFC leaves the text as
/// it is.
bool is_inert_under_nfc(std::string_view text, const UnicodeTable& table);

/// NFC of well-formed text. utf8proc gets only the code points that the table marks, and the one before each. So
/// changes of newer Unicode versions have no effect, whichever utf8proc is installed.
std::string nfc(std::string_view text, const UnicodeTable& table);

}  // namespace penstock
