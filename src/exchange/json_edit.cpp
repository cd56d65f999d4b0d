// SPDX-License-Identifier: Apache-2.0
#include "exchange/json_edit.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace penstock {
namespace {

struct MemberSpan {
  std::string key;
  std::size_t key_begin = 0, value_begin = 0, value_end = 0;
};

/// Walks text that is known to be JSON.
class MemberWalk {
 public:
  explicit MemberWalk(std::string_view text) : text_(text) {}

  std::vector<MemberSpan> members() {
    std::vector<MemberSpan> members;
    expect('{');
    skip_space();
    while (peek() != '}') {
      MemberSpan member;
      member.key_begin = at_;
      skip_value();
      member.key = nlohmann::json::parse(text_.substr(member.key_begin, at_ - member.key_begin)).get<std::string>();
      expect(':');
      skip_space();
      member.value_begin = at_;
      skip_value();
      member.value_end = at_;
      members.push_back(std::move(member));
      skip_space();
      if (peek() == ',') ++at_;
      skip_space();
    }
    return members;
  }
  /// Where the object ends, after members().
  std::size_t end() const { return at_; }

 private:
  char peek() const {
    ensure(at_ < text_.size(), "with_members: text that is a JSON object");
    return text_[at_];
  }
  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  void expect(char what) {
    // A byte order mark may stand before the object.
    if (at_ == 0 && text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    skip_space();
    ensure(peek() == what, "with_members: text that is a JSON object");
    ++at_;
  }
  void skip_text() {
    ++at_;
    while (peek() != '"') at_ += peek() == '\\' ? 2 : 1;
    ++at_;
  }
  void skip_value() {
    if (peek() == '"') return skip_text();
    std::size_t depth = 0;
    do {
      const char here = peek();
      if (here == '"') {
        skip_text();
        continue;
      }
      if (depth == 0 && std::string_view(" \t\r\n,:]}").find(here) != std::string_view::npos) return;
      if (here == '[' || here == '{') ++depth;
      if (here == ']' || here == '}') --depth;
      ++at_;
      if (depth == 0 && (here == ']' || here == '}')) return;
    } while (true);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::string indented(const nlohmann::ordered_json& value, std::string_view space_before_key) {
  const std::size_t line = space_before_key.rfind('\n');
  if (line == std::string_view::npos) return value.dump();
  std::string text = value.dump(2);
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
    text.insert(at + 1, space_before_key.substr(line + 1));
  return text;
}

}  // namespace

std::string with_members(std::string_view object, const JsonMembers& members) {
  MemberWalk walk(object);
  const std::vector<MemberSpan> spans = walk.members();
  const std::size_t object_end = walk.end();
  // The space before the last key serves the keys that follow it.
  std::string_view space = "\n  ";
  if (!spans.empty()) {
    const std::size_t key = spans.back().key_begin;
    const std::size_t mark = object.substr(0, key).find_last_not_of(" \t\r\n");
    space = object.substr(mark + 1, key - mark - 1);
  }
  std::string added;
  std::vector<std::pair<const MemberSpan*, std::string>> replaced;
  for (const auto& [key, value] : members) {
    const auto found =
        std::find_if(spans.begin(), spans.end(), [&, name = key](const MemberSpan& span) { return span.key == name; });
    if (found != spans.end()) {
      replaced.emplace_back(&*found, indented(value, space));
      continue;
    }
    if (!spans.empty() || !added.empty()) added += ',';
    added.append(space).append(nlohmann::json(key).dump()).append(": ").append(indented(value, space));
  }
  std::sort(replaced.begin(), replaced.end(),
            [](const auto& a, const auto& b) { return a.first->value_begin < b.first->value_begin; });
  std::string text;
  std::size_t at = 0;
  for (const auto& [span, value] : replaced) {
    text.append(object.substr(at, span->value_begin - at)).append(value);
    at = span->value_end;
  }
  const std::size_t last = spans.empty() ? object_end : spans.back().value_end;
  text.append(object.substr(at, last - at)).append(added);
  if (spans.empty() && !added.empty()) text += '\n';
  return text.append(object.substr(last));
}

}  // namespace penstock
