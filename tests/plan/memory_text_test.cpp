// SPDX-License-Identifier: Apache-2.0
#include "plan/memory_text.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "pipeline/tiny_model.hpp"

namespace penstock::memory_text_test {
namespace {

TEST(BytesText, ChoosesItsUnit) {
  EXPECT_EQ(bytes_text(0), "0.0 MiB");
  EXPECT_EQ(bytes_text(std::size_t{3} << 19), "1.5 MiB");
  EXPECT_EQ(bytes_text(std::size_t{1} << 30), "1.00 GiB");
  EXPECT_EQ(bytes_text((std::size_t{1} << 30) * 5 / 2), "2.50 GiB");
}

TEST(ParseBytes, TakesANumberAndItsUnit) {
  EXPECT_EQ(parse_bytes("80GiB"), std::size_t{80} << 30);
  EXPECT_EQ(parse_bytes("1.5 TiB"), std::size_t{3} << 39);
  EXPECT_EQ(parse_bytes("80GB"), 80'000'000'000U);
  for (const char* text :
       {"", "80", "GiB", "80 gib", "-1GiB", "0MiB", "80GiB free", "nanGiB", "1e30TiB", "1e-5GiB", "1MB"})
    EXPECT_THROW(parse_bytes(text), InputError) << text;
  EXPECT_EQ(parse_bytes("1MiB"), std::size_t{1} << 20) << "the least";
}

TEST(ParseFileBytes, TakesSmallOnesToo) {
  EXPECT_EQ(parse_file_bytes("20kB"), 20'000U);
  EXPECT_EQ(parse_file_bytes("1.5 KiB"), 1536U);
  EXPECT_EQ(parse_file_bytes("5GB"), 5'000'000'000U);
  EXPECT_EQ(parse_file_bytes("5"), 5U) << "bytes";
  EXPECT_EQ(parse_file_bytes("5000000001"), 5'000'000'001U);
  for (const char* text : {"", "0", "-5", "1.5", "5e9", "99999999999999999999", "GB", "0GB", "-1GB", "5 gb", "1e-9kB"})
    EXPECT_THROW(parse_file_bytes(text), InputError) << text;
}

TEST(MemoryText, NamesEveryUseAndTheirSum) {
  MemoryPlan plan;
  for (std::size_t use = 0; use < plan.bytes.size(); ++use) plan.bytes[use] = (use + 1) << 20;
  EXPECT_EQ(memory_text(plan),
            "21.0 MiB: parameters 1.0 MiB, gradients 2.0 MiB, optimizer 3.0 MiB, activations 4.0 MiB, buffers 5.0 MiB, "
            "workspace 6.0 MiB");
}

TEST(TotalParameters, CountsTiedOnesOnceOnAnyMesh) {
  const std::int64_t c = 16, expected = (40 + 10) * c + 4 * (12 * c * c + 13 * c) + 2 * c;
  EXPECT_EQ(total_parameters(test::tiny_plan({})), expected);
  EXPECT_EQ(total_parameters(test::tiny_plan({.data = 2, .pipeline = 4, .tensor = 2})), expected);
}

TEST(StageLines, SayWhatEachStageHolds) {
  const std::vector<std::string> one = stage_lines(test::tiny_plan({}));
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one.front(),
            fmt::format("stage 0 on pipeline rank 0: embedding, blocks 0 to 3, head and loss, {} parameters",
                        total_parameters(test::tiny_plan({}))));
  const std::vector<std::string> four = stage_lines(test::tiny_plan({.pipeline = 4}));
  ASSERT_EQ(four.size(), 4U);
  EXPECT_EQ(four[1], fmt::format("stage 1 on pipeline rank 1: block 1, {} parameters", 12 * 16 * 16 + 13 * 16));
  EXPECT_TRUE(four[3].starts_with("stage 3 on pipeline rank 3: block 3, head and loss, ")) << four[3];
}

}  // namespace
}  // namespace penstock::memory_text_test
