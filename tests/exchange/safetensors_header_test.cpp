// SPDX-License-Identifier: Apache-2.0
#include "exchange/safetensors_header.hpp"

#include <gtest/gtest.h>

#include "exchange/sample_files.hpp"

namespace penstock::safetensors_header_test {
namespace {

struct Damage {
  std::string name;
  std::string bytes;               ///< of the file
  std::vector<std::string> words;  ///< that the message must have
};

std::string entry(const std::string& type, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

/// A file of 24 bytes after a header with one tensor `a` of two floats and the given one.
Damage with(const std::string& name, const std::string& tensor, std::vector<std::string> words) {
  const std::string header = R"({"a":)" + entry(R"("F32")", "[2]", "[0,8]") + R"(,"b":)" + tensor + "}";
  words.emplace_back("tensor b");
  return {name, test::safetensors_bytes(header, std::string(24, 'x')), std::move(words)};
}

std::vector<Damage> damages() {
  const std::string good = entry(R"("F32")", "[2,2]", "[8,24]");
  const std::string whole = with("", good, {}).bytes;
  std::string longer = whole, huge = whole;
  longer[0] = '\x7f';
  longer[1] = '\x7f';
  huge[4] = '\x01';
  return {
      {"empty file", "", {"cut short", "0 bytes"}},
      {"seven bytes", whole.substr(0, 7), {"cut short", "7 bytes"}},
      {"length only", whole.substr(0, 8), {"cut short", "header has", "8 in all"}},
      {"cut in the header", whole.substr(0, 40), {"cut short", "40 in all"}},
      {"header longer than the file", longer, {"cut short", "32639 bytes"}},
      {"header over 100 MB", huge, {"4294967", "the longest has 100000000"}},
      {"header of no bytes", test::safetensors_bytes("", ""), {"is not JSON", "unexpected end"}},
      {"not JSON", test::safetensors_bytes("{\"a\":", ""), {"is not JSON"}},
      {"not UTF-8", test::safetensors_bytes("{\"\xff\":1}", ""), {"is not JSON", "UTF-8"}},
      {"two values", test::safetensors_bytes("{} {}", ""), {"is not JSON"}},
      {"a list", test::safetensors_bytes("[1,2,3]", ""), {"a list of 3", "must be a JSON object"}},
      {"a nested list",
       test::safetensors_bytes(std::string(100000, '[') + std::string(100000, ']'), ""),
       {"a list of 1", "must be a JSON object"}},
      {"no tensor", test::safetensors_bytes("{}", ""), {"holds no tensor"}},
      {"metadata and no tensor",
       test::safetensors_bytes(R"({"__metadata__":{"format":"pt"}})", ""),
       {"__metadata__ and no tensor"}},
      {"metadata is a list",
       test::safetensors_bytes(R"({"__metadata__":[1],"a":)" + good + "}", std::string(24, 'x')),
       {"__metadata__ is a list of 1"}},
      {"metadata of numbers",
       test::safetensors_bytes(R"({"__metadata__":{"step":3}})", ""),
       {"__metadata__.step is 3", "must be a string"}},
      {"a name twice",
       test::safetensors_bytes(R"({"a":)" + good + R"(,"a":)" + good + "}", std::string(24, 'x')),
       {"names \"a\" twice"}},
      {"a key twice", test::safetensors_bytes(R"({"a":{"dtype":"F32","dtype":"F16"}})", ""), {"names \"dtype\" twice"}},
      with("a number for a tensor", "17", {"is 17", "must be an object"}),
      with("no dtype", R"({"shape":[2,2],"data_offsets":[8,24]})", {"dtype (none)"}),
      with("unknown dtype", entry(R"("F31")", "[2,2]", "[8,24]"), {"dtype \"F31\"", "F32, BF16, F16"}),
      with("dtype in small letters", entry(R"("f32")", "[2,2]", "[8,24]"), {"dtype \"f32\""}),
      with("dtype is a number", entry("32", "[2,2]", "[8,24]"), {"dtype 32"}),
      with("no shape", R"({"dtype":"F32","data_offsets":[8,24]})", {"shape (none)"}),
      with("shape is a number", entry(R"("F32")", "4", "[8,24]"), {"shape 4", "a list of extents"}),
      with("negative extent", entry(R"("F32")", "[-2,-2]", "[8,24]"), {"extent -2", "whole number"}),
      with("a fraction in the shape", entry(R"("F32")", "[2.0,2]", "[8,24]"), {"extent 2.0"}),
      with("a word in the shape", entry(R"("F32")", R"(["2",2])", "[8,24]"), {"extent \"2\""}),
      with("extent above 2^62", entry(R"("F32")", "[18446744073709551615]", "[8,24]"), {"extent 18446744073709551615"}),
      with("a product above 2^64", entry(R"("F32")", "[4294967296,4294967296]", "[8,24]"), {"no file can hold"}),
      with("a product that wraps to the size", entry(R"("F32")", "[4611686018427387904,16]", "[8,24]"),
           {"no file can hold"}),
      with("half a byte too many", entry(R"("F4")", "[31]", "[8,24]"), {"no file can hold"}),
      with("no offsets", R"({"dtype":"F32","shape":[2,2]})", {"data_offsets (none)"}),
      with("one offset", entry(R"("F32")", "[2,2]", "[8]"), {"data_offsets a list of 1"}),
      with("negative offset", entry(R"("F32")", "[2,2]", "[-8,8]"), {"data_offsets [-8, 8]"}),
      with("reversed offsets", entry(R"("F32")", "[2,2]", "[24,8]"), {"[24, 8]", "ends before it begins"}),
      with("offsets beyond the file", entry(R"("F32")", "[2,3]", "[8,32]"), {"[8, 32]", "24 bytes after its header"}),
      with("offsets far beyond", entry(R"("F32")", "[2,2]", "[9223372036854775807,9223372036854775807]"),
           {"from 0 to 2^62"}),
      with("too short for its shape", entry(R"("F32")", "[2,3]", "[8,24]"), {"are 16 bytes", "need 24"}),
      with("too long for its type", entry(R"("BF16")", "[2,2]", "[8,24]"), {"are 16 bytes", "need 8"}),
      with("an unknown key", R"({"dtype":"F32","shape":[2,2],"data_offsets":[8,24],"strides":[2,1]})", {"\"strides\""}),
      with("overlapping", entry(R"("F32")", "[5]", "[4,24]"), {"begins at byte 4", "tensor a goes on to byte 8"}),
      with("the same bytes", entry(R"("F32")", "[2]", "[0,8]"), {"overlap"}),
      with("a hole", entry(R"("F32")", "[3]", "[12,24]"), {"bytes 8 to 12", "no holes"}),
      {"bytes after the last tensor", whole + "xyz", {"3 bytes after the last tensor", "27 bytes after its header"}},
      {"a hole at the start",
       test::safetensors_bytes(R"({"a":)" + entry(R"("U8")", "[2]", "[1,3]") + "}", "xyz"),
       {"bytes 0 to 1 before tensor a"}},
  };
}

TEST(SafetensorsHeaderTest, EveryDamageIsNamedWithFileAndCure) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder / "model.safetensors";
  for (const Damage& damage : damages()) {
    test::write_file(path, damage.bytes);
    const std::string message = test::input_error([&] { SafetensorsFile file(path); });
    EXPECT_NE(message.find(path.string() + ": "), std::string::npos) << damage.name << "\n" << message;
    EXPECT_NE(message.find("copy the file again"), std::string::npos) << damage.name << "\n" << message;
    for (const std::string& words : damage.words)
      EXPECT_NE(message.find(words), std::string::npos) << damage.name << " lacks " << words << "\n" << message;
  }
}

TEST(SafetensorsHeaderTest, ReportsAllTensorsAtOnceAndNotWithoutEnd) {
  std::string header = "{";
  for (int i = 0; i < 1000; ++i) header += (i ? ",\"t" : "\"t") + std::to_string(i) + "\":" + std::to_string(i);
  const std::string message = test::input_error([&] { parse_safetensors_header(header + "}", 0, "f"); });
  EXPECT_NE(message.find("tensor t0 is 0"), std::string::npos) << message;
  EXPECT_NE(message.find("tensor t1 is 1"), std::string::npos) << message;
  EXPECT_LT(message.size(), 10000U);
}

TEST(SafetensorsHeaderTest, WritesTheReferenceLibrarysBytes) {
  // safetensors 0.8.0 of Python: save({"b.weight": float32 [2, 3], "a.weight": float32 [3]}, {"format": "pt"}).
  const std::string expected =
      std::string("\xa0\0\0\0\0\0\0\0", 8) +
      R"({"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
      R"("b.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[12,36]}}   )";
  const std::vector<StoredTensor> tensors{{"a.weight", *stored_type_named("F32"), {3}, 0, 12},
                                          {"b.weight", *stored_type_named("F32"), {2, 3}, 12, 36}};
  EXPECT_EQ(safetensors_header(tensors), expected);
}

}  // namespace
}  // namespace penstock::safetensors_header_test
