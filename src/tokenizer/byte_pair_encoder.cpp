// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_pair_encoder.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.hpp"

namespace penstock {
namespace {

constexpr std::size_t short_word = 48;  // bytes: a scan for the lowest rank is faster than a queue up to here
constexpr std::uint32_t no_rank = ~std::uint32_t{0};

constexpr std::uint64_t mixed(std::uint64_t key) {
  key *= 0x9e3779b97f4a7c15U;
  return (key ^ key >> 29) * 0xbf58476d1ce4e5b9U;
}

std::uint64_t hash_of(std::string_view word) {
  std::uint64_t hash = word.size();
  for (std::size_t at = 0; at < word.size(); at += sizeof hash) {
    std::uint64_t part = 0;
    std::memcpy(&part, word.data() + at, std::min(sizeof part, word.size() - at));
    hash = mixed(hash ^ part);
  }
  return hash;
}

std::uint64_t pair_key(TokenId left, TokenId right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

/// How far a 64-bit hash is shifted to become a place of a table that `entries` fill by half at most.
unsigned shift_for(std::size_t entries) {
  return 64U - static_cast<unsigned>(std::bit_width(std::max<std::size_t>(entries, 1) * 2 - 1));
}

}  // namespace

BytePairEncoder::BytePairEncoder(const std::array<TokenId, 256>& bytes, std::span<const MergeRule> merges,
                                 std::span<const std::string> whole_words)
    : bytes_(bytes),
      knows_all_bytes_(std::find(bytes.begin(), bytes.end(), no_token) == bytes.end()),
      pairs_(std::size_t{1} << (64U - shift_for(merges.size()))),
      pair_shift_(shift_for(merges.size())) {
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::uint64_t key = pair_key(merges[rank].left, merges[rank].right);
    std::size_t place = mixed(key) >> pair_shift_;
    while (pairs_[place].key != Pair::none) {
      ensure(pairs_[place].key != key, "BytePairEncoder: a pair has two ranks");
      place = (place + 1) & (pairs_.size() - 1);
    }
    pairs_[place] = {key, static_cast<std::uint32_t>(rank), merges[rank].merged};
  }
  if (whole_words.empty()) return;
  whole_shift_ = shift_for(whole_words.size());
  whole_words_.resize(std::size_t{1} << (64U - whole_shift_));
  for (std::size_t token = 0; token < whole_words.size(); ++token) {
    const std::string& word = whole_words[token];
    if (word.empty()) continue;
    std::size_t place = hash_of(word) >> whole_shift_;
    while (whole_words_[place].bytes != 0) place = (place + 1) & (whole_words_.size() - 1);
    whole_words_[place] = {static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(word.size()),
                           static_cast<TokenId>(token)};
    text_ += word;
  }
}

const BytePairEncoder::Pair* BytePairEncoder::find(TokenId left, TokenId right) const {
  const std::uint64_t key = pair_key(left, right);
  for (std::size_t place = mixed(key) >> pair_shift_;; place = (place + 1) & (pairs_.size() - 1)) {
    if (pairs_[place].key == key) return &pairs_[place];
    if (pairs_[place].key == Pair::none) return nullptr;
  }
}

const BytePairEncoder::WholeWord* BytePairEncoder::find_whole(std::string_view word) const {
  if (whole_words_.empty()) return nullptr;
  for (std::size_t place = hash_of(word) >> whole_shift_;; place = (place + 1) & (whole_words_.size() - 1)) {
    const WholeWord& found = whole_words_[place];
    if (found.bytes == 0) return nullptr;
    if (found.bytes == word.size() && std::memcmp(text_.data() + found.begin, word.data(), word.size()) == 0)
      return &found;
  }
}

void BytePairEncoder::append(std::string_view word, std::vector<TokenId>& tokens, EncoderScratch& scratch) const {
  if (!knows_all_bytes_) [[unlikely]] {
    // The library looks a word up before it takes it apart, and what is left of a word is looked up no more.
    if (const WholeWord* whole = find_whole(word)) return tokens.push_back(whole->token);
    if (const std::string known = without_unknown(word); known.size() < word.size()) {
      scratch.bytes_without_token_ += word.size() - known.size();
      return known.empty() ? void() : append_merged(known, tokens, scratch);
    }
  }
  if (word.size() == 1) return tokens.push_back(bytes_[static_cast<unsigned char>(word[0])]);
  if (word.size() > EncoderScratch::longest_cached) return append_word(word, tokens, scratch);
  EncoderScratch::WordKey key;
  char bytes[16] = {};
  std::memcpy(bytes, word.data(), word.size());
  bytes[15] = static_cast<char>(word.size());
  std::memcpy(&key, bytes, sizeof bytes);
  EncoderScratch::CachedWord& cached =
      scratch.words_[mixed(key.low ^ mixed(key.high)) >> (64U - EncoderScratch::cache_bits)];
  if (cached.word != key) {
    const std::size_t before = tokens.size();
    append_word(word, tokens, scratch);
    const std::size_t count = tokens.size() - before;
    if (count > EncoderScratch::most_cached) return;
    cached.word = key;
    cached.count = static_cast<std::uint32_t>(count);
    std::copy(tokens.begin() + static_cast<std::ptrdiff_t>(before), tokens.end(), cached.tokens.begin());
    return;
  }
  if (cached.count == 1) return tokens.push_back(cached.tokens[0]);
  tokens.insert(tokens.end(), cached.tokens.begin(), cached.tokens.begin() + cached.count);
}

std::string BytePairEncoder::without_unknown(std::string_view word) const {
  std::string known;
  for (const char byte : word)
    if (bytes_[static_cast<unsigned char>(byte)] != no_token) known.push_back(byte);
  return known;
}

void BytePairEncoder::append_word(std::string_view word, std::vector<TokenId>& tokens, EncoderScratch& scratch) const {
  if (const WholeWord* whole = find_whole(word)) return tokens.push_back(whole->token);
  append_merged(word, tokens, scratch);
}

void BytePairEncoder::append_merged(std::string_view word, std::vector<TokenId>& tokens,
                                    EncoderScratch& scratch) const {
  return word.size() <= short_word ? append_short(word, tokens) : append_long(word, tokens, scratch);
}

void BytePairEncoder::append_short(std::string_view word, std::vector<TokenId>& tokens) const {
  std::array<TokenId, short_word> parts;
  std::array<std::uint32_t, short_word> ranks;  // [i]: of parts i and i + 1
  std::array<TokenId, short_word> merged;
  std::size_t count = word.size();
  const auto rank_pair = [&](std::size_t i) {
    const Pair* pair = i + 1 < count ? find(parts[i], parts[i + 1]) : nullptr;
    ranks[i] = pair ? pair->rank : no_rank;
    if (pair) merged[i] = pair->merged;
  };
  for (std::size_t i = 0; i < count; ++i) parts[i] = bytes_[static_cast<unsigned char>(word[i])];
  for (std::size_t i = 0; i < count; ++i) rank_pair(i);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == no_rank) break;
    parts[best] = merged[best];
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      parts[i] = parts[i + 1];
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    rank_pair(best);
    if (best > 0) rank_pair(best - 1);
  }
  tokens.insert(tokens.end(), parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(count));
}

void BytePairEncoder::propose(std::int32_t place, EncoderScratch& scratch) const {
  const auto& left = scratch.symbols_[static_cast<std::size_t>(place)];
  if (left.after < 0) return;
  const auto& right = scratch.symbols_[static_cast<std::size_t>(left.after)];
  if (const Pair* pair = find(left.token, right.token))
    scratch.queue_.push_back({pair->rank, place, left.token, right.token, pair->merged});
}

// A candidate counts if its two symbols are still what they were. A symbol that was merged into the one before it has
// no token.
void BytePairEncoder::append_long(std::string_view word, std::vector<TokenId>& tokens, EncoderScratch& scratch) const {
  constexpr TokenId gone = -1;
  const auto later = [](const EncoderScratch::Candidate& a, const EncoderScratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.place > b.place;
  };
  if (word.size() > longest_word)
    throw_input_error(
        "a text has a word of {} bytes, and a word has at most {}: the tokenizer cuts that text nowhere; split the "
        "file, "
        "or use a tokenizer that cuts it at spaces",
        word.size(), longest_word);
  const auto count = static_cast<std::int32_t>(word.size());
  auto& symbols = scratch.symbols_;
  auto& queue = scratch.queue_;
  symbols.resize(word.size());
  queue.clear();
  for (std::int32_t i = 0; i < count; ++i)
    symbols[static_cast<std::size_t>(i)] = {bytes_[static_cast<unsigned char>(word[static_cast<std::size_t>(i)])],
                                            i - 1, i + 1 < count ? i + 1 : -1};
  for (std::int32_t i = 0; i + 1 < count; ++i) propose(i, scratch);
  std::make_heap(queue.begin(), queue.end(), later);
  const auto push = [&](std::int32_t place) {
    const std::size_t before = queue.size();
    propose(place, scratch);
    if (queue.size() > before) std::push_heap(queue.begin(), queue.end(), later);
  };
  while (!queue.empty()) {
    const EncoderScratch::Candidate best = queue.front();
    std::pop_heap(queue.begin(), queue.end(), later);
    queue.pop_back();
    auto& left = symbols[static_cast<std::size_t>(best.place)];
    if (left.token != best.left || left.after < 0) continue;
    auto& right = symbols[static_cast<std::size_t>(left.after)];
    if (right.token != best.right) continue;
    left.token = best.merged;
    left.after = right.after;
    right.token = gone;
    if (left.after >= 0) symbols[static_cast<std::size_t>(left.after)].before = best.place;
    push(best.place);
    if (left.before >= 0) push(left.before);
  }
  for (std::int32_t i = 0; i >= 0 && i < count; i = symbols[static_cast<std::size_t>(i)].after)
    tokens.push_back(symbols[static_cast<std::size_t>(i)].token);
}

}  // namespace penstock
