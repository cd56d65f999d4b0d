// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/nfc.hpp"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/error.hpp"
#include "tokenizer/utf8.hpp"

namespace penstock {
namespace {

constexpr char first_byte_of_marks = '\xcc';  // U+0300: no code point below it has the property

bool changes_under_nfc(const char* at, const UnicodeTable& table) {
  return static_cast<unsigned char>(*at) >= static_cast<unsigned char>(first_byte_of_marks) &&
         (table[code_point_at(at).value] & UnicodeTable::nfc) != 0;
}

void append_nfc_by_library(std::string_view text, std::string& result) {
  utf8proc_uint8_t* normalized = nullptr;
  const utf8proc_ssize_t bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &normalized, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(normalized, &std::free);
  if (bytes < 0) throw SystemError(fmt::format("utf8proc cannot normalize a text: {}", utf8proc_errmsg(bytes)));
  result.append(reinterpret_cast<const char*>(normalized), static_cast<std::size_t>(bytes));
}

/// A newer utf8proc may take for a mark, and move, what is none in the table.
bool is_base_for_library(const char* at) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(code_point_at(at).value))->combining_class == 0;
}

}  // namespace

bool is_inert_under_nfc(std::string_view text, const UnicodeTable& table) {
  for (const char *at = text.data(), *end = at + text.size(); at < end; at += code_point_at(at).bytes)
    if (changes_under_nfc(at, table)) return false;
  return true;
}

std::string nfc(std::string_view text, const UnicodeTable& table) {
  std::string result;
  result.reserve(text.size());
  const char* const end = text.data() + text.size();
  const char* written = text.data();  // all before it is in the result
  const char* before = written;       // the code point before `at`
  for (const char* at = written; at < end;) {
    if (!changes_under_nfc(at, table)) {
      before = at;
      at += code_point_at(at).bytes;
      continue;
    }
    if (before < at && !is_base_for_library(before)) before = at;
    result.append(written, static_cast<std::size_t>(before - written));
    while (at < end && changes_under_nfc(at, table)) at += code_point_at(at).bytes;
    append_nfc_by_library({before, static_cast<std::size_t>(at - before)}, result);
    written = before = at;
  }
  return result.append(written, static_cast<std::size_t>(end - written));
}

}  // namespace penstock
