// SPDX-License-Identifier: Apache-2.0
#include "data/tokenize.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "base/usable_cores.hpp"
#include "base/user_path.hpp"
#include "data/file_start.hpp"
#include "data/json_lines.hpp"
#include "data/piece_encoder.hpp"
#include "data/text_source.hpp"
#include "data/token_file_header.hpp"
#include "data/token_file_writer.hpp"

namespace penstock {
namespace {

namespace fs = std::filesystem;

/// Decides which pieces of the text are held back, in whole millionths, so that no rounding of doubles matters.
class HeldBackRule {
 public:
  explicit HeldBackRule(double fraction) : millionths_(static_cast<std::uint64_t>(std::llround(fraction * million))) {}

  bool holds_back(std::uint64_t piece) const { return count_before(piece + 1) > count_before(piece); }
  /// Enough text for one whole piece on either side.
  std::uint64_t least_bytes() const {
    std::uint64_t piece = 1;
    while (holds_back(piece) == holds_back(0)) ++piece;
    return (piece + 1) * held_back_piece_bytes;
  }

  static constexpr std::uint64_t million = 1000000;

 private:
  std::uint64_t count_before(std::uint64_t piece) const { return (piece * millionths_ + million / 2) / million; }
  std::uint64_t millionths_;
};

bool holds_bytes(const fs::path& file) {
  std::error_code ignored;
  return fs::is_regular_file(file, ignored) && fs::file_size(file, ignored) > 0;
}

/// Tokens can be made again; other files cannot.
void refuse_to_replace_others(const fs::path& output) {
  if (holds_bytes(output) && !looks_like_a_token_file(output))
    throw_input_error("tokenize: {} is there and is no token file; name another output, or remove it", output.string());
}

std::vector<fs::path> outputs_of(const TokenizeRequest& request) {
  std::vector<fs::path> outputs{request.output};
  if (request.held_back) outputs.push_back(*request.held_back);
  return outputs;
}

std::vector<fs::path> present_outputs(const TokenizeRequest& request) {
  std::vector<fs::path> present;
  for (const fs::path& output : outputs_of(request))
    if (holds_bytes(output)) present.push_back(output);
  return present;
}

fs::path real_output(const fs::path& output) {
  std::error_code error;
  const fs::path real = fs::weakly_canonical(absolute_path(output), error);  // z.tok and ./z.tok are one file
  if (error)
    throw_input_error("tokenize: {} cannot be created ({}); name another file", output.string(), error.message());
  return real;
}

void check_outputs(const TokenizeRequest& request) {
  if (request.output.empty()) throw_input_error("tokenize: no output was named; name one with -o FILE");
  for (const fs::path& output : outputs_of(request)) refuse_to_replace_others(output);
  if (!request.held_back) return;
  const double fraction = request.held_back_fraction;
  if (!(fraction >= 1e-6 && fraction <= 1.0 - 1e-6))
    throw_input_error("tokenize: the held-back fraction is {}; it lies between 0 and 1, for instance 0.1", fraction);
  if (real_output(request.output) == real_output(*request.held_back))
    throw_input_error("tokenize: {} is named for the tokens and for the held-back part; use two files",
                      request.output.string());
}

/// The end-of-text token of documents; none without a tokenizer, whose bytes have none.
std::optional<TokenId> end_of_documents(const TokenizeRequest& request) {
  if (!request.documents || !request.tokenizer) return std::nullopt;
  if (const auto end = request.tokenizer->end_of_text()) return end;
  throw_input_error(
      "tokenize: documents end with the tokenizer's end-of-text token, and {} does not say which one that is; put the "
      "model's tokenizer_config.json, with eos_token, next to it, or leave --documents out",
      request.tokenizer->path().string());
}

TokenFileFormat format_of(const TokenizeRequest& request) {
  const std::optional<Tokenizer>& tokenizer = request.tokenizer;
  if (!tokenizer) return {};
  const std::uint64_t vocabulary = tokenizer->vocabulary();
  const std::uint32_t width = vocabulary <= 1U << 8 ? 1 : vocabulary <= 1U << 16 ? 2 : 4;
  return {.bytes_per_token = width,
          .vocabulary = vocabulary,
          .tokenizer = TokenizerMark{tokenizer->digest(), end_of_documents(request)}};
}

/// Standard input has no name: a field says what it is.
bool is_json_lines(const fs::path& path, const std::optional<std::string>& field) {
  return is_named_as_json_lines(path) || (field && path == standard_input());
}

void refuse_a_field_of_nothing(const TokenizeRequest& request, const TextListing& listing) {
  if (!request.field) return;
  for (const fs::path& text : listing.texts)
    if (is_json_lines(text, request.field)) return;
  throw_input_error(
      "tokenize: the field \"{}\" is one of JSON lines, and no input is a *.jsonl file (or *.jsonl.gz, *.jsonl.zst), "
      "nor "
      "standard input (-); name one, or leave --field out",
      *request.field);
}

/// A file's text, in pieces that a tokenizer takes one by one.
class TextCutter {
 public:
  TextCutter(const fs::path& path, const Tokenizer& tokenizer) : source_(path), tokenizer_(&tokenizer) {}

  /// None at the end.
  std::optional<TextPiece> next() {
    std::size_t searched = held_back_piece_bytes;
    while (true) {
      const std::string_view rest = std::string_view(text_).substr(begin_);
      if (rest.size() > searched)
        if (const auto cut = tokenizer_->find_cut(rest, searched, complete_)) return take(*cut);
      if (complete_) return rest.empty() ? std::nullopt : std::optional(take(rest.size()));
      searched = std::max(searched, rest.size() - std::min(rest.size(), Tokenizer::look_ahead));
      read_on();
    }
  }

 private:
  TextPiece take(std::size_t bytes) {
    TextPiece piece{text_.substr(begin_, bytes), goes_on_};
    begin_ += bytes;
    goes_on_ = true;
    return piece;
  }

  void read_on() {
    text_.erase(0, begin_);
    begin_ = 0;
    const std::size_t before = text_.size();
    const std::size_t more = std::max(bytes_at_once, before);  // a text without a cut is copied a few times only
    text_.resize(before + more);
    const std::size_t present = source_.read(std::as_writable_bytes(std::span(text_)).subspan(before));
    text_.resize(before + present);
    complete_ = present < more;
  }

  static constexpr std::size_t bytes_at_once = std::size_t{1} << 20;

  TextSource source_;
  const Tokenizer* tokenizer_;
  std::string text_;
  std::size_t begin_ = 0;  // of text_: what has not been taken
  bool goes_on_ = false;
  bool complete_ = false;
};

/// Deals texts out to one or two files, piece by piece.
class TextDealer {
 public:
  explicit TextDealer(const TokenizeRequest& request)
      : rule_(request.held_back_fraction),
        documents_(request.documents),
        field_(request.field),
        end_of_document_(end_of_documents(request)),
        kept_(request.output, format_of(request)) {
    if (request.held_back) held_back_.emplace(*request.held_back, format_of(request));
    if (!request.tokenizer) return;
    tokenizer_ = request.tokenizer;
    encoder_.emplace(*tokenizer_, usable_cores().size(),
                     [this](const TextPiece& piece, std::vector<TokenId>&& ids, const TextLosses& losses) {
                       write(piece, ids);
                       losses_.add(losses);
                     });
  }

  void add(const fs::path& path) {
    if (is_json_lines(path, field_)) return add_records(path);
    if (documents_) return add_document(path);
    return tokenizer_ ? add_encoded(path) : add_bytes(path);
  }

  void finish() {
    if (encoder_) encoder_->finish();
    if (bytes_ == 0) throw_input_error("tokenize: the inputs hold no byte of text; name files that are not empty");
    if (held_back_ && !tokenizer_ && !has_whole_texts_ && bytes_ < rule_.least_bytes())
      throw_input_error(
          "tokenize: the text has {} bytes, and a held-back part of this fraction needs {} or more (it is "
          "dealt out in pieces of {} bytes); give more text, or a fraction nearer to 0.5",
          bytes_, rule_.least_bytes(), held_back_piece_bytes);
    if (held_back_ && (held_back_->header().tokens == 0 || kept_.header().tokens == 0))
      throw_input_error(
          "tokenize: the text has {} pieces (of {} bytes or a little more, and a file ends one), and of so few this "
          "fraction "
          "leaves one of the two parts empty; give more text, or a fraction nearer to 0.5",
          pieces_ + (bytes_in_piece_ > 0 ? 1 : 0), held_back_piece_bytes);
    if (kept_.header().tokens == 0)
      throw_input_error("tokenize: the tokenizer has no token for any byte of the text; use another one");
  }

  /// Both are whole on the device before either gets its name.
  void publish() {
    kept_.seal();
    if (held_back_) held_back_->seal();
    kept_.publish();
    if (held_back_) held_back_->publish();
  }

  TokenizeReport report() const {
    TokenizeReport report{.bytes = bytes_, .tokens = kept_.header().tokens, .largest = kept_.header().largest};
    report.losses = losses_;
    report.documents = documents_written_;
    report.without_text = without_text_;
    report.not_counted = not_counted_;
    if (held_back_) {
      report.held_back_tokens = held_back_->header().tokens;
      report.largest = std::max(report.largest, held_back_->header().largest);
    }
    return report;
  }

 private:
  void add_bytes(const fs::path& path) {
    TextSource source(path);
    while (true) {
      const std::uint64_t left_in_piece = held_back_piece_bytes - bytes_ % held_back_piece_bytes;
      std::string text(left_in_piece, '\0');
      text.resize(source.read(std::as_writable_bytes(std::span(text))));
      const bool complete = text.size() < left_in_piece;
      deal({.text = std::move(text), .held_back = is_held_back(bytes_ / held_back_piece_bytes)});
      if (complete) return;
    }
  }

  void add_encoded(const fs::path& path) {
    TextCutter cutter(path, *tokenizer_);
    while (auto piece = cutter.next()) {
      piece->held_back = is_held_back(pieces_++);
      deal(std::move(*piece));
    }
  }

  // A file whose end is that of a document: the last piece is known when there is no other.
  void add_document(const fs::path& path) {
    begin_whole_text();
    std::optional<TextPiece> last;
    const auto add_piece = [&](TextPiece piece) {
      piece.begins_document = !last;
      if (last) deal_whole(std::move(*last));
      last = std::move(piece);
    };
    if (tokenizer_) {
      TextCutter cutter(path, *tokenizer_);
      while (auto piece = cutter.next()) add_piece(std::move(*piece));
    } else {
      TextSource source(path);
      std::string text(held_back_piece_bytes, '\0');
      while (const std::size_t present = source.read(std::as_writable_bytes(std::span(text))))
        add_piece({.text = text.substr(0, present)});
    }
    if (last) last->ends_document = true;
    if (last) deal_whole(std::move(*last));
    end_whole_text(last.has_value());
  }

  void add_records(const fs::path& path) {
    JsonLines lines(path, field_);
    while (auto record = lines.next()) {
      const bool holds_text = !record->text.empty() || (record->prompt && !record->prompt->empty());
      begin_whole_text();
      if (holds_text) add_record(*record);
      end_whole_text(holds_text);
    }
  }

  void add_record(const TextRecord& record) {
    bool begins = documents_;
    bool goes_on = false;
    const auto add_text = [&](std::string_view text, bool counted) {
      while (!text.empty()) {
        const std::size_t bytes = piece_of(text);
        deal_whole({.text = std::string(text.substr(0, bytes)),
                    .goes_on = std::exchange(goes_on, true),
                    .begins_document = std::exchange(begins, false),
                    .counted = counted});
        text.remove_prefix(bytes);
      }
    };
    if (record.prompt) add_text(*record.prompt, false);
    add_text(record.text, true);
    if (documents_) deal_whole({.text = "", .goes_on = true, .ends_document = true});
  }

  /// Bytes of the text's first piece.
  std::size_t piece_of(std::string_view text) const {
    if (text.size() <= held_back_piece_bytes) return text.size();
    if (!tokenizer_) return held_back_piece_bytes;
    return tokenizer_->find_cut(text, held_back_piece_bytes, true).value_or(text.size());
  }

  // A line of JSON, or a document, stays whole: it lies in a piece, which ends with the text that fills it.
  void begin_whole_text() {
    has_whole_texts_ = true;
    whole_is_held_back_ = is_held_back(pieces_);
  }
  void deal_whole(TextPiece piece) {
    piece.held_back = whole_is_held_back_;
    bytes_in_piece_ += piece.text.size();
    deal(std::move(piece));
  }
  void end_whole_text(bool held_text) {
    if (!held_text) ++without_text_;
    if (held_text && documents_) ++documents_written_;
    if (bytes_in_piece_ < held_back_piece_bytes) return;
    ++pieces_;
    bytes_in_piece_ = 0;
  }

  void deal(TextPiece piece) {
    bytes_ += piece.text.size();
    if (encoder_) return encoder_->add(std::move(piece));
    tokens_.assign(piece.text.size(), 0);
    std::transform(piece.text.begin(), piece.text.end(), tokens_.begin(),
                   [](char byte) { return static_cast<std::int32_t>(static_cast<unsigned char>(byte)); });
    write(piece, tokens_);
  }

  void write(const TextPiece& piece, std::span<const TokenId> ids) {
    TokenFileWriter& writer = piece.held_back ? *held_back_ : kept_;
    if (piece.begins_document) writer.begin_document();
    writer.append(ids, piece.counted ? TokenFileWriter::Counted::yes : TokenFileWriter::Counted::no);
    if (!piece.counted) not_counted_ += ids.size();
    if (piece.ends_document && end_of_document_) writer.append(std::span(&*end_of_document_, 1));
  }

  bool is_held_back(std::uint64_t piece) const { return held_back_ && rule_.holds_back(piece); }

  HeldBackRule rule_;
  bool documents_;
  std::optional<std::string> field_;
  std::optional<TokenId> end_of_document_;
  TokenFileWriter kept_;
  std::optional<TokenFileWriter> held_back_;
  std::uint64_t bytes_ = 0;
  std::uint64_t pieces_ = 0;          // encoded ones, and those of whole texts
  std::uint64_t bytes_in_piece_ = 0;  // of whole texts
  bool has_whole_texts_ = false;
  bool whole_is_held_back_ = false;
  std::uint64_t documents_written_ = 0, without_text_ = 0, not_counted_ = 0;
  TextLosses losses_;
  std::vector<std::int32_t> tokens_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<PieceEncoder> encoder_;  // made last: it gives to the files
};

}  // namespace

TokenizeReport tokenize(const TokenizeRequest& request) {
  check_outputs(request);
  const TextListing listing = list_texts(request.inputs);  // before an output exists: none is its own input
  refuse_a_field_of_nothing(request, listing);
  TextDealer dealer(request);
  for (const fs::path& text : listing.texts) dealer.add(text);
  dealer.finish();
  const std::vector<fs::path> replaced = present_outputs(request);
  dealer.publish();
  TokenizeReport report = dealer.report();
  report.replaced = replaced;
  report.files = listing.texts.size();
  report.skipped = listing.skipped;
  report.left_out = listing.left_out;
  return report;
}

}  // namespace penstock
