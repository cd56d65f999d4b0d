// SPDX-License-Identifier: Apache-2.0
#include "data/token_file_table.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "data/temporary_folder.hpp"
#include "data/token_samples.hpp"

namespace penstock::token_file_table_test {
namespace {

using Counted = TokenFileWriter::Counted;
using Id = TokenFileSection::Id;

std::string as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class TokenFileTableTest : public ::testing::Test {
 protected:
  /// 20 tokens in three documents, of which the first begins at token 0 and tokens 9 to 12 do not count.
  void write_sample() {
    TokenFileWriter writer(path_, {.bytes_per_token = 1, .tokenizer = TokenizerMark{77, 3}});
    writer.begin_document();
    writer.append(test::known_tokens(0, 5));
    writer.begin_document();
    writer.begin_document();  // one without a token is none
    writer.append(test::known_tokens(5, 4));
    writer.append(test::known_tokens(9, 4), Counted::no);
    writer.append(test::known_tokens(13, 3));
    writer.begin_document();
    writer.append(test::known_tokens(16, 4));
    writer.begin_document();
    writer.publish();
  }

  /// A file of 20 tokens, a byte each, with these bytes after them and this table, all checksums right but those that
  /// `sections` says.
  void write_file(const std::string& after, const std::vector<TokenFileSection>& sections) {
    const std::string table = as_text(encode_table(sections));
    TokenFileHeader header{.version = 2, .vocabulary = 256, .tokens = 20, .largest = 255};
    header.table = header.byte_offset(header.tokens) + after.size();
    header.table_bytes = table.size();
    test::write_file(path_, as_text(encode(header)) + std::string(20, 't') + after + table);
  }

  std::string error() {
    return test::input_error([&] {
      const TokenFileHeader header = read_token_header(path_);
      check_sections(path_, header, read_token_table(path_, header));
    });
  }
  void expect_error(const std::vector<std::string>& parts) {
    const std::string message = error();
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
    EXPECT_NE(message.find(path_.string()), std::string::npos) << message;
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "train.tok";
};

TEST_F(TokenFileTableTest, IsReadAsItWasWritten) {
  write_sample();
  EXPECT_EQ(folder_.entries(), 1U);
  const TokenFileHeader header = read_token_header(path_);
  EXPECT_EQ(header.version, 2U);
  const TokenFileTable table = read_token_table(path_, header);
  EXPECT_EQ(table.tokenizer, (TokenizerMark{77, 3}));
  EXPECT_EQ(digest_text(*table.tokenizer), "fnv1a64-000000000000004d");
  EXPECT_EQ(read_document_starts(path_, header, table), (std::vector<std::uint64_t>{0, 5, 16}));
  const std::vector<bool> counted = read_counted(path_, header, table, 0, 20);
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(counted[i], i < 9 || i > 12) << i;
  EXPECT_EQ(read_counted(path_, header, table, 12, 3), (std::vector<bool>{false, true, true}));
  EXPECT_EQ(error(), "no InputError");
  std::vector<std::int32_t> tokens(20);
  test::open_token_file(path_).read(0, tokens);
  EXPECT_EQ(tokens, test::known_tokens(0, 20)) << "tokens stay where they were";
}

TEST_F(TokenFileTableTest, AFileWithNothingToSayHasVersion1) {
  test::write_known_tokens(path_, 100);
  const TokenFileHeader header = read_token_header(path_);
  EXPECT_EQ(header.version, 1U);
  const TokenFileTable table = read_token_table(path_, header);
  EXPECT_FALSE(table.tokenizer || table.documents || table.mask);
  EXPECT_TRUE(read_document_starts(path_, header, table).empty());
  EXPECT_EQ(read_counted(path_, header, table, 3, 2), (std::vector<bool>{true, true}));
}

TEST_F(TokenFileTableTest, ManyDocumentsDoNotStayInMemory) {
  constexpr std::uint64_t documents = 300'000;  // 2.4 MB of starts: more than is kept
  TokenFileWriter writer(path_, {});
  const std::vector<std::int32_t> tokens{1, 2, 3};
  for (std::uint64_t i = 0; i < documents; ++i) {
    writer.begin_document();
    writer.append(tokens, i == documents - 1 ? Counted::no : Counted::yes);
  }
  writer.publish();
  EXPECT_EQ(folder_.entries(), 1U);
  const TokenFileHeader header = read_token_header(path_);
  const TokenFileTable table = read_token_table(path_, header);
  const std::vector<std::uint64_t> starts = read_document_starts(path_, header, table);
  ASSERT_EQ(starts.size(), documents);
  for (std::uint64_t i = 0; i < documents; ++i) ASSERT_EQ(starts[i], 3 * i);
  EXPECT_EQ(read_counted(path_, header, table, 3 * documents - 4, 4), (std::vector<bool>{true, false, false, false}));
  EXPECT_EQ(error(), "no InputError");
}

TEST_F(TokenFileTableTest, FindsEveryFlippedBitAfterTheTokens) {
  write_sample();
  const std::string whole = test::read_file(path_);
  const TokenFileHeader header = read_token_header(path_);
  std::size_t padding = 0;
  for (std::size_t at = header.byte_offset(header.tokens); at < whole.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      test::write_file(path_, damaged);
      if (error().find("damaged") == std::string::npos) ++padding;
    }
  EXPECT_EQ(padding, 8U * (4 + 5)) << "84 to 88, and 115 to 120, where three bytes of mask end";
}

TEST_F(TokenFileTableTest, RefusesSectionsThatOverlap) {
  write_file(std::string(40, '\0'), {{Id::documents, 84, 16, 0}, {Id::mask, 92, 3, 0}});
  expect_error({"section 1 (documents; 16 bytes from byte 84 on) overlaps section 2 (mask; 3 bytes from byte 92 on)"});
}

TEST_F(TokenFileTableTest, RefusesImpossiblePlaces) {
  for (const auto& [offset, bytes] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {0, 8}, {83, 8}, {117, 8}, {125, 0}, {84, 48}, {~0ULL, 8}, {84, ~0ULL}, {~0ULL - 7, 8}}) {
    write_file(std::string(40, '\0'), {{Id::documents, offset, bytes, 0}});
    expect_error({"section 1 (documents", "lies outside bytes 84 to 124"});
  }
}

TEST_F(TokenFileTableTest, RefusesImpossibleLengths) {
  for (const TokenFileSection& section :
       {TokenFileSection{Id::documents, 84, 12, 0}, TokenFileSection{Id::mask, 84, 2, 0},
        TokenFileSection{Id::mask, 84, 4, 0}, TokenFileSection{Id::tokenizer, 84, 8, 0}}) {
    write_file(std::string(40, '\0'), {section});
    expect_error({"has an impossible length"});
  }
}

TEST_F(TokenFileTableTest, RefusesASectionThatComesTwiceAndTakesOneThatItDoesNotKnow) {
  write_file(std::string(40, '\0'), {{Id::mask, 84, 3, 0}, {Id::mask, 92, 3, 0}});
  expect_error({"section 2 (mask) 2 times"});
  write_file(std::string(40, '\0'), {{static_cast<Id>(99), 84, 3, 0}});
  EXPECT_EQ(error(), "no InputError");
}

TEST_F(TokenFileTableTest, RefusesDocumentsThatDoNotAscendOrLieOutside) {
  const auto with_starts = [&](std::vector<std::uint64_t> starts) {
    const std::string bytes(reinterpret_cast<const char*>(starts.data()), starts.size() * 8);
    write_file(bytes, {{Id::documents, 84, bytes.size(), hash_text(bytes)}});
  };
  with_starts({0, 7, 19});
  EXPECT_EQ(error(), "no InputError");
  with_starts({0, 7, 7});
  expect_error({"a document begins at token 7, after one at 7"});
  with_starts({0, 20});
  expect_error({"a document begins at token 20, and the file has 20 tokens"});
}

TEST_F(TokenFileTableTest, RefusesAMaskWithBitsAfterTheLastTokenAndAnImpossibleToken) {
  const std::string mask("\xff\xff\x1f");
  write_file(mask, {{Id::mask, 84, 3, hash_text(mask)}});
  expect_error({"has bits after the last token"});
  const std::string tokenizer = std::string(8, 'd') + std::string(8, '\x7f');
  write_file(tokenizer, {{Id::tokenizer, 84, 16, hash_text(tokenizer)}});
  expect_error({"end-of-text token", "no tokenizer has"});
}

TEST_F(TokenFileTableTest, RefusesATableThatIsNotWhatTheHeaderSays) {
  for (const auto& [table, bytes] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {83, 16}, {84, 15}, {84, 16 + 32 * 65}, {0, 16}, {~0ULL, 16}}) {
    TokenFileHeader header{.version = 2, .vocabulary = 256, .tokens = 20, .largest = 255};
    header.table = table;
    header.table_bytes = bytes;
    test::write_file(path_, as_text(encode(header)) + std::string(200, 't'));
    expect_error({"makes no sense"});
  }
  write_file("", {{Id::mask, 84, 0, 0}});
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 1);
  expect_error({"cut short", "and a table"});
}

}  // namespace
}  // namespace penstock::token_file_table_test
