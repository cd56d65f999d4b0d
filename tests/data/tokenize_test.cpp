// SPDX-License-Identifier: Apache-2.0
#include "data/tokenize.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <thread>

#include "data/compressed.hpp"
#include "data/temporary_folder.hpp"
#include "data/token_file_table.hpp"
#include "data/token_samples.hpp"

namespace penstock::tokenize_test {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& token_file) {
  const TokenFile file = test::open_token_file(token_file);
  std::vector<std::int32_t> tokens(file.header().tokens);
  file.read(0, tokens);
  return {tokens.begin(), tokens.end()};
}

/// Text in which every place is known.
std::string known_text(std::uint64_t bytes) {
  std::string text;
  for (const std::int32_t token : test::known_tokens(0, bytes)) text.push_back(static_cast<char>(token));
  return text;
}

class TokenizeTest : public ::testing::Test {
 protected:
  void expect_error(const TokenizeRequest& request, const std::vector<std::string>& parts) {
    const std::string message = test::input_error([&] { tokenize(request); });
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
    EXPECT_FALSE(fs::exists(output_));
    EXPECT_EQ(outputs_.entries(), 0U);
  }

  test::TemporaryFolder folder_;
  test::TemporaryFolder outputs_;
  const fs::path output_ = outputs_ / "train.tok";
};

TEST_F(TokenizeTest, JoinsFilesWithNothingBetween) {
  test::write_file(folder_ / "b", "first\n");
  test::write_file(folder_ / "a", std::string("\xff\0second", 8));
  test::write_file(folder_ / "empty", "");
  const TokenizeReport report =
      tokenize({.inputs = {folder_ / "b", folder_ / "empty", folder_ / "a"}, .output = output_});
  EXPECT_EQ(text_of(output_), std::string("first\n\xff\0second", 14));
  EXPECT_EQ(report.files, 3U);
  EXPECT_EQ(report.bytes, 14U);
  EXPECT_EQ(report.tokens, 14U);
  EXPECT_EQ(report.held_back_tokens, 0U);
  EXPECT_EQ(report.largest, 255U);
  EXPECT_EQ(read_token_header(output_).vocabulary, 256U);
}

TEST_F(TokenizeTest, ReadsFoldersInTheOrderOfTheirPaths) {
  fs::create_directories(folder_ / "deep/er");
  test::write_file(folder_ / "deep/er/x", "2");
  test::write_file(folder_ / "deep/z", "3");
  test::write_file(folder_ / "deep-b", "1");  // '-' comes before '/'
  test::write_file(folder_ / "Z", "0");
  test::write_file(folder_ / "z", "4");
  EXPECT_EQ(tokenize({.inputs = {folder_.path()}, .output = output_}).files, 5U);
  EXPECT_EQ(text_of(output_), "01234");
}

TEST_F(TokenizeTest, FollowsLinksToFilesAndNotToFolders) {
  fs::create_directory(folder_ / "texts");
  test::write_file(folder_ / "texts/a", "a");
  test::write_file(folder_ / "outside", "o");
  fs::create_symlink(folder_ / "outside", folder_ / "texts/b");
  fs::create_directory_symlink(folder_ / "texts", folder_ / "texts/cycle");
  fs::create_directory_symlink(folder_ / "texts", folder_ / "link");
  const TokenizeReport report = tokenize({.inputs = {folder_ / "link"}, .output = output_});
  EXPECT_EQ(text_of(output_), "ao");
  EXPECT_EQ(report.skipped, std::vector<fs::path>{folder_ / "link/cycle"});
}

TEST_F(TokenizeTest, ReadsAPipe) {
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  const std::string text = known_text(200'000);
  std::jthread writer([&] { test::write_file(folder_ / "pipe", text); });
  EXPECT_EQ(tokenize({.inputs = {folder_ / "pipe"}, .output = output_}).bytes, 200'000U);
  EXPECT_EQ(text_of(output_), text);
}

TEST_F(TokenizeTest, ReplacesTokensAndSaysSo) {
  test::write_file(folder_ / "text", known_text(4 * held_back_piece_bytes));
  const fs::path held_back = outputs_ / "validation.tok";
  const TokenizeRequest request{
      .inputs = {folder_ / "text"}, .output = output_, .held_back = held_back, .held_back_fraction = 0.5};
  EXPECT_TRUE(tokenize(request).replaced.empty());
  fs::remove(output_);
  EXPECT_EQ(tokenize(request).replaced, std::vector<fs::path>{held_back});
  EXPECT_EQ(tokenize(request).replaced, (std::vector<fs::path>{output_, held_back}));
}

TEST_F(TokenizeTest, ReplacesNothingElse) {
  test::write_file(folder_ / "text", known_text(4 * held_back_piece_bytes));
  const fs::path notes = folder_ / "notes";
  test::write_file(notes, "precious");
  for (const TokenizeRequest& request :
       {TokenizeRequest{.inputs = {folder_ / "text"}, .output = notes},
        TokenizeRequest{.inputs = {folder_ / "text"}, .output = output_, .held_back = notes}})
    expect_error(request, {notes.string() + " is there and is no token file", "name another"});
  EXPECT_EQ(test::read_file(notes), "precious");
  test::write_file(notes, "");
  EXPECT_TRUE(tokenize({.inputs = {folder_ / "text"}, .output = notes}).replaced.empty()) << "an empty file is nothing";
}

TEST_F(TokenizeTest, DoesNotReadItsOwnOutput) {
  test::write_file(folder_ / "text", "text");
  const TokenizeRequest request{.inputs = {folder_.path()}, .output = folder_ / "train.tok"};
  tokenize(request);
  const TokenizeReport again = tokenize(request);
  EXPECT_EQ(text_of(request.output), "text");
  EXPECT_EQ(again.skipped, std::vector<fs::path>{request.output});
  EXPECT_EQ(folder_.entries(), 2U);
}

TEST_F(TokenizeTest, NamesAllInputsThatCannotBeTaken) {
  test::write_file(folder_ / "good", "good");
  test::write_file(folder_ / "locked", "locked");
  test::write_known_tokens(folder_ / "old.tok", 10);
  fs::create_directory(folder_ / "closed");
  fs::create_directory(folder_ / "texts");
  fs::create_symlink("nowhere", folder_ / "texts/broken");
  fs::permissions(folder_.path(), fs::perms::all);
  fs::permissions(outputs_.path(), fs::perms::all);
  fs::permissions(folder_ / "locked", fs::perms::none);
  fs::permissions(folder_ / "closed", fs::perms::none);
  const test::WithoutPrivileges nobody;
  expect_error(
      {.inputs = {folder_ / "good", folder_ / "missing", folder_ / "locked", folder_ / "closed", folder_ / "old.tok",
                  folder_ / "texts/broken"},
       .output = output_},
      {"5 of the inputs", (folder_ / "missing").string() + ": does not exist",
       (folder_ / "locked").string() + ": cannot be read", (folder_ / "closed").string() + ": cannot be listed",
       (folder_ / "old.tok").string() + ": is a token file already",
       (folder_ / "texts/broken").string() + ": does not exist"});
}

TEST_F(TokenizeTest, LeavesOutWhatIsNoTextOfAFolderAndCountsIt) {
  fs::create_directories(folder_ / ".git/objects");
  fs::create_directories(folder_ / "deep/.cache");
  test::write_file(folder_ / ".git/objects/ab", "not this");
  test::write_file(folder_ / "deep/.hidden", "nor this");
  test::write_file(folder_ / "deep/a.xz", std::string("\xfd"
                                                      "7zXZ\0rest",
                                                      10));
  test::write_file(folder_ / "b.zip", "PK\x03\x04rest");
  test::write_file(folder_ / "picture", std::string("\x89PNG\r\n\0\0", 8));
  fs::create_symlink("nowhere", folder_ / "dangling");
  fs::create_symlink("loop", folder_ / "loop");
  fs::create_symlink(folder_.path(), folder_ / "deep/up");
  test::write_file(folder_ / "text", "text\n");
  test::write_file(folder_ / "deep/umlaut", "\xc3\xa4");
  const TokenizeReport report = tokenize({.inputs = {folder_.path()}, .output = output_});
  EXPECT_EQ(text_of(output_), "\xc3\xa4text\n");
  EXPECT_EQ(report.files, 2U);
  EXPECT_EQ(report.skipped, std::vector<fs::path>{folder_ / "deep/up"});
  const LeftOut& left_out = report.left_out;
  EXPECT_EQ(left_out.hidden.count, 3U) << ".git, deep/.cache, deep/.hidden";
  EXPECT_EQ(left_out.dangling.count, 2U);
  EXPECT_EQ(left_out.compressed.count, 2U);
  EXPECT_EQ(left_out.binary.count, 1U);
  const std::string line = penstock::text_of(left_out);
  for (const std::string& part : {"3 hidden files or folders (" + (folder_ / ".git").string() + ", ...)",
                                  "2 links that lead nowhere (" + (folder_ / "dangling").string() + ", ...)",
                                  "2 compressed files (" + (folder_ / "b.zip").string() + ", ...)",
                                  "1 file with zero bytes (" + (folder_ / "picture").string() + ");"})
    EXPECT_NE(line.find(part), std::string::npos) << part << "\n" << line;
}

TEST_F(TokenizeTest, TakesWhatIsNamedItself) {
  fs::create_directory(folder_ / ".notes");
  test::write_file(folder_ / ".notes/a", "a");
  test::write_file(folder_ / ".profile", "b");
  test::write_file(folder_ / "binary", std::string("\0c", 2));
  const TokenizeReport report =
      tokenize({.inputs = {folder_ / ".notes", folder_ / ".profile", folder_ / "binary"}, .output = output_});
  EXPECT_EQ(text_of(output_), std::string("ab\0c", 4));
  EXPECT_FALSE(report.left_out.any());
}

TEST_F(TokenizeTest, RefusesAFileCompressedInAWayThatIsNotReadAndSaysHowToDecompressIt) {
  test::write_file(folder_ / "text.zip", "PK\x03\x04rest");
  expect_error(
      {.inputs = {folder_ / "text.zip"}, .output = output_},
      {"text.zip: is compressed (zip)", "unzip -p " + (folder_ / "text.zip").string() + " | penstock tokenize"});
}

TEST_F(TokenizeTest, SaysWhatWasLeftOutWhereNoTextIsLeft) {
  test::write_file(folder_ / ".hidden", "hidden");
  expect_error({.inputs = {folder_.path()}, .output = output_}, {"hold no text", "1 hidden file or folder"});
}

TEST_F(TokenizeTest, RefusesNoInputAndNoText) {
  test::write_file(folder_ / "empty", "");
  expect_error({.inputs = {}, .output = output_}, {"no text was named"});
  expect_error({.inputs = {folder_ / "empty"}, .output = output_}, {"no byte of text"});
  expect_error({.inputs = {folder_ / "empty"}, .output = ""}, {"no output"});
}

TEST_F(TokenizeTest, RefusesToOverwriteAText) {
  test::write_file(folder_ / "a", "a");
  test::write_file(folder_ / "b", "b");
  EXPECT_THROW(tokenize({.inputs = {folder_ / "b"}, .output = folder_ / "a"}), InputError);
  EXPECT_THROW(tokenize({.inputs = {folder_ / "a"}, .output = folder_ / "a"}), InputError);
  EXPECT_EQ(test::read_file(folder_ / "a"), "a");
}

TEST_F(TokenizeTest, HoldsBackEveryTenthPiece) {
  const std::string text = known_text(25 * held_back_piece_bytes + 1000);
  test::write_file(folder_ / "one", text.substr(0, 100'001));  // pieces are of the joined text, not of a file
  test::write_file(folder_ / "two", text.substr(100'001));
  const fs::path held_back = outputs_ / "validation.tok";
  const TokenizeReport report =
      tokenize({.inputs = {folder_ / "one", folder_ / "two"}, .output = output_, .held_back = held_back});
  std::string kept_text, held_back_text;
  for (std::uint64_t piece = 0; piece < 26; ++piece) {
    const bool is_held_back = piece == 4 || piece == 14 || piece == 24;
    (is_held_back ? held_back_text : kept_text) += text.substr(piece * held_back_piece_bytes, held_back_piece_bytes);
  }
  EXPECT_EQ(text_of(output_), kept_text);
  EXPECT_EQ(text_of(held_back), held_back_text);
  EXPECT_EQ(report.tokens, kept_text.size());
  EXPECT_EQ(report.held_back_tokens, held_back_text.size());
  EXPECT_EQ(report.bytes, text.size());
}

TEST_F(TokenizeTest, HoldsBackTheFractionThatWasAskedFor) {
  test::write_file(folder_ / "text", std::string(100 * held_back_piece_bytes, 't'));
  for (const double fraction : {0.01, 0.05, 0.15, 0.3, 0.5, 0.7}) {
    const TokenizeReport report = tokenize({.inputs = {folder_ / "text"},
                                            .output = output_,
                                            .held_back = outputs_ / "validation.tok",
                                            .held_back_fraction = fraction});
    // Whole pieces of 1 % each, rounded to the nearest; these fractions are whole numbers of pieces.
    EXPECT_EQ(report.held_back_tokens, static_cast<std::uint64_t>(fraction * 100 + 0.5) * held_back_piece_bytes);
  }
}

TEST_F(TokenizeTest, SaysHowMuchTextAHeldBackPartNeeds) {
  test::write_file(folder_ / "text", std::string(5 * held_back_piece_bytes - 1, 't'));
  TokenizeRequest request{.inputs = {folder_ / "text"}, .output = output_, .held_back = outputs_ / "validation.tok"};
  expect_error(request, {"has 327679 bytes", "needs 327680"});
  test::write_file(folder_ / "text", std::string(5 * held_back_piece_bytes, 't'));
  EXPECT_EQ(tokenize(request).held_back_tokens, held_back_piece_bytes);
}

TEST_F(TokenizeTest, RefusesAFractionOutsideItsRangeAndOneFileForBoth) {
  test::write_file(folder_ / "text", "text");
  for (const double fraction : {0.0, 1.0, -0.1, 10.0, std::nan("")})
    expect_error({.inputs = {folder_ / "text"},
                  .output = output_,
                  .held_back = outputs_ / "validation.tok",
                  .held_back_fraction = fraction},
                 {"between 0 and 1"});
  expect_error({.inputs = {folder_ / "text"}, .output = output_, .held_back = outputs_ / "./train.tok"}, {"two files"});
}

std::vector<TokenId> ids_of(const fs::path& token_file) {
  const TokenFile file = test::open_token_file(token_file);
  std::vector<TokenId> ids(file.header().tokens);
  file.read(0, ids);
  return ids;
}

Tokenizer small_tokenizer() {
  return Tokenizer::load(fs::path(PENSTOCK_SOURCE_DIR) / "tests/tokenizer/samples/small.json");
}

/// The small one, with a token that ends texts.
fs::path write_tokenizer_that_ends_texts(const fs::path& path) {
  std::string json = test::read_file(fs::path(PENSTOCK_SOURCE_DIR) / "tests/tokenizer/samples/small.json");
  const std::string none = "\"added_tokens\":[]";
  json.replace(json.find(none), none.size(),
               "\"added_tokens\":[{\"id\":480,\"content\":\"<|endoftext|>\",\"single_word\":false,\"lstrip\":false,"
               "\"rstrip\":false,\"normalized\":false,\"special\":true}]");
  test::write_file(path, json);
  return path;
}

std::string some_words(std::size_t bytes) {
  std::string text;
  for (std::uint32_t i = 1; text.size() < bytes; ++i)
    text += fmt::format(
        "the {} wheels, turn{} Gr\xc3\xb6\xc3\x9f"
        "e",
        i * 2654435761U % 1000, i % 7 == 0 ? "\n\n  " : "");
  return text;
}

TEST_F(TokenizeTest, ATokenizersIdsAreThoseOfEachWholeFile) {
  const std::string text = some_words(20 * held_back_piece_bytes);  // many pieces, and threads
  test::write_file(folder_ / "one", text);
  test::write_file(folder_ / "two", "two \xff\xfe files");
  const TokenizeReport report =
      tokenize({.inputs = {folder_ / "one", folder_ / "two"}, .output = output_, .tokenizer = small_tokenizer()});
  std::vector<TokenId> expected = small_tokenizer().encode(text);
  const std::vector<TokenId> second = small_tokenizer().encode("two \xef\xbf\xbd\xef\xbf\xbd files");
  expected.insert(expected.end(), second.begin(), second.end());
  EXPECT_EQ(ids_of(output_), expected);
  EXPECT_EQ(report.tokens, expected.size());
  EXPECT_EQ(report.losses.broken_parts, 2U);
  const TokenFileHeader header = read_token_header(output_);
  EXPECT_EQ(header.vocabulary, small_tokenizer().vocabulary());
  EXPECT_EQ(header.bytes_per_token, 2U) << "ids above 255";
}

TEST_F(TokenizeTest, ATextWithoutACutIsOnePiece) {
  const std::string text(3'000'000, '1');
  test::write_file(folder_ / "text", text);
  tokenize({.inputs = {folder_ / "text"}, .output = output_, .tokenizer = small_tokenizer()});
  EXPECT_EQ(small_tokenizer().decode(ids_of(output_)), text);
}

TEST_F(TokenizeTest, PiecesOfTokensAreHeldBackWhole) {
  const std::string text = some_words(20 * held_back_piece_bytes);
  test::write_file(folder_ / "text", text);
  const fs::path held_back = outputs_ / "validation.tok";
  const TokenizeReport report = tokenize({.inputs = {folder_ / "text"},
                                          .output = output_,
                                          .held_back = held_back,
                                          .held_back_fraction = 0.25,
                                          .tokenizer = small_tokenizer()});
  const std::string kept_text = small_tokenizer().decode(ids_of(output_));
  const std::string held_text = small_tokenizer().decode(ids_of(held_back));
  EXPECT_EQ(kept_text.size() + held_text.size(), text.size());
  EXPECT_EQ(report.tokens + report.held_back_tokens, small_tokenizer().encode(text).size());
  EXPECT_GE(held_text.size(), 5 * held_back_piece_bytes);
  EXPECT_LE(held_text.size(), 5 * held_back_piece_bytes + 500);
  // Of pieces 0, 1, 2, ... the second and every fourth after it.
  EXPECT_TRUE(text.starts_with(kept_text.substr(0, held_back_piece_bytes)));
  EXPECT_NE(text.find(held_text.substr(0, held_back_piece_bytes), held_back_piece_bytes), std::string::npos);
}

TEST_F(TokenizeTest, SaysThatOnePieceMakesNoTwoFiles) {
  test::write_file(folder_ / "text", "few words");
  expect_error({.inputs = {folder_ / "text"},
                .output = output_,
                .held_back = outputs_ / "validation.tok",
                .tokenizer = small_tokenizer()},
               {"has 1 pieces", "empty"});
}

TEST_F(TokenizeTest, ReadsCompressedTextsOfAFolderAndLeavesCompressedBinariesOut) {
  test::write_file(folder_ / "a.gz", test::gzipped("zipped\n"));
  test::write_file(folder_ / "b.zst", test::zstandard("standard\n"));
  test::write_file(folder_ / "c.tar.gz", test::gzipped(std::string("name\0\0\0", 7)));
  const TokenizeReport report = tokenize({.inputs = {folder_.path()}, .output = output_});
  EXPECT_EQ(text_of(output_), "zipped\nstandard\n");
  EXPECT_EQ(report.left_out.binary.count, 1U);
  EXPECT_EQ(report.files, 2U);
}

TEST_F(TokenizeTest, NamesADamagedCompressedFile) {
  const std::string whole = test::gzipped(known_text(5000));
  test::write_file(folder_ / "text.gz", whole.substr(0, whole.size() / 2));
  expect_error({.inputs = {folder_ / "text.gz"}, .output = output_}, {"text.gz: is cut short", "gzip"});
  expect_error({.inputs = {folder_.path()}, .output = output_}, {"1 of the inputs", "text.gz: is cut short"});
}

/// The documents of a token file of bytes.
std::vector<std::string> documents_of(const fs::path& token_file) {
  const TokenFileHeader header = read_token_header(token_file);
  const TokenFileTable table = read_token_table(token_file, header);
  check_sections(token_file, header, table);
  std::vector<std::uint64_t> starts = read_document_starts(token_file, header, table);
  starts.push_back(header.tokens);
  const std::string text = text_of(token_file);
  std::vector<std::string> documents;
  for (std::size_t i = 0; i + 1 < starts.size(); ++i)
    documents.push_back(text.substr(starts[i], starts[i + 1] - starts[i]));
  return documents;
}

TEST_F(TokenizeTest, DocumentsAreFilesAndLines) {
  test::write_file(folder_ / "a.txt", "a file");
  test::write_file(folder_ / "b.jsonl", "{\"text\": \"line 1\"}\n\n{\"text\": \"\"}\r\n{\"text\": \"line \\u0032\"}");
  test::write_file(folder_ / "c.txt", "");
  const std::string large = known_text(3 * held_back_piece_bytes + 1);
  test::write_file(folder_ / "d", std::string(large.size(), 'd'));
  const TokenizeReport report = tokenize({.inputs = {folder_.path()}, .output = output_, .documents = true});
  EXPECT_EQ(documents_of(output_),
            (std::vector<std::string>{"a file", "line 1", "line 2", std::string(large.size(), 'd')}));
  EXPECT_EQ(report.documents, 4U);
  EXPECT_EQ(report.without_text, 2U);
  EXPECT_FALSE(read_token_table(output_, read_token_header(output_)).tokenizer) << "bytes have none";
}

TEST_F(TokenizeTest, DocumentsEndWithTheTokenizersToken) {
  const std::string text = some_words(5 * held_back_piece_bytes);
  test::write_file(folder_ / "a.txt", text);
  test::write_file(folder_ / "b.jsonl", "{\"body\": {\"en\": \"the second\"}}\n");
  const Tokenizer tokenizer = Tokenizer::load(write_tokenizer_that_ends_texts(folder_ / "tokenizer.json"));
  constexpr TokenId end = 480;
  tokenize({.inputs = {folder_ / "a.txt", folder_ / "b.jsonl"},
            .output = output_,
            .field = "body.en",
            .documents = true,
            .tokenizer = tokenizer});
  std::vector<TokenId> expected = tokenizer.encode(text);
  expected.push_back(end);
  const std::uint64_t second = expected.size();
  for (const TokenId id : tokenizer.encode("the second")) expected.push_back(id);
  expected.push_back(end);
  EXPECT_EQ(ids_of(output_), expected);
  const TokenFileHeader header = read_token_header(output_);
  const TokenFileTable table = read_token_table(output_, header);
  EXPECT_EQ(read_document_starts(output_, header, table), (std::vector<std::uint64_t>{0, second}));
  EXPECT_EQ(table.tokenizer, (TokenizerMark{tokenizer.digest(), end}));
}

TEST_F(TokenizeTest, OnlyCompletionsCount) {
  test::write_file(
      folder_ / "pairs.jsonl",
      "{\"prompt\": \"ask\", \"completion\": \"answer\"}\n{\"prompt\": \"\", \"completion\": \"alone\"}\n");
  const TokenizeReport report = tokenize({.inputs = {folder_ / "pairs.jsonl"}, .output = output_, .documents = true});
  EXPECT_EQ(documents_of(output_), (std::vector<std::string>{"askanswer", "alone"}));
  const TokenFileHeader header = read_token_header(output_);
  const auto counted = read_counted(output_, header, read_token_table(output_, header), 0, header.tokens);
  for (std::size_t i = 0; i < counted.size(); ++i) EXPECT_EQ(counted[i], i >= 3) << i;
  EXPECT_EQ(report.not_counted, 3U);
}

TEST_F(TokenizeTest, DocumentsAreHeldBackWhole) {
  std::string lines;
  for (int i = 0; i < 1000; ++i) lines += fmt::format("{{\"text\": \"{:04}{}\"}}\n", i, std::string(996, 't'));
  test::write_file(folder_ / "a.jsonl", lines);
  const fs::path held_back = outputs_ / "validation.tok";
  const TokenizeReport report = tokenize({.inputs = {folder_ / "a.jsonl"},
                                          .output = output_,
                                          .held_back = held_back,
                                          .documents = true,
                                          .held_back_fraction = 0.25});
  EXPECT_EQ(report.documents, 1000U);
  EXPECT_EQ(report.tokens + report.held_back_tokens, 1'000'000U);
  EXPECT_EQ(report.held_back_tokens, 4 * 66'000U) << "pieces 1, 5, 9 and 13 of 66 documents";
  for (const fs::path& file : {output_, held_back})
    for (const std::string& document : documents_of(file)) EXPECT_EQ(document.size(), 1000U);
}

TEST_F(TokenizeTest, AFieldNeedsJsonLines) {
  test::write_file(folder_ / "a.txt", "text");
  expect_error({.inputs = {folder_ / "a.txt"}, .output = output_, .field = "body"},
               {"the field \"body\"", "no input is a *.jsonl file"});
}

TEST_F(TokenizeTest, DocumentsNeedATokenThatEndsThem) {
  test::write_file(folder_ / "a.txt", "text");
  expect_error({.inputs = {folder_ / "a.txt"}, .output = output_, .documents = true, .tokenizer = small_tokenizer()},
               {"small.json does not say which one that is", "tokenizer_config.json, with eos_token"});
  write_tokenizer_that_ends_texts(folder_ / "tokenizer.json");
  test::write_file(folder_ / "tokenizer_config.json", "{\"eos_token\": {\"content\": \"<|nothing|>\"}}");
  const TokenizeRequest request{.inputs = {folder_ / "a.txt"},
                                .output = output_,
                                .documents = true,
                                .tokenizer = Tokenizer::load(folder_ / "tokenizer.json")};
  expect_error(request, {"its eos_token, <|nothing|>, is no special token"});
  test::write_file(folder_ / "tokenizer_config.json", "[");
  expect_error(request, {"tokenizer_config.json: is no JSON object"});
}

}  // namespace
}  // namespace penstock::tokenize_test
