// SPDX-License-Identifier: Apache-2.0
#include "data/batch_reader.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "data/temporary_folder.hpp"
#include "data/token_samples.hpp"

namespace penstock::batch_reader_test {
namespace {

constexpr int sequence = 16;

class BatchReaderTest : public ::testing::Test {
 protected:
  BatchReaderTest() { test::write_known_tokens(path_, 50 * sequence + 3); }

  BatchPlan plan(int data_ranks = 2) const {
    return BatchPlan({.seed = 4,
                      .samples_in_file = samples_in_file(read_token_header(path_), path_, sequence),
                      .global_batch = 12,
                      .micro_batch = 3,
                      .data_ranks = data_ranks});
  }

  /// What the reader shall give, computed without it.
  StepBatch expected(const BatchPlan& of, std::uint64_t samples_drawn, int data_coordinate) const {
    StepBatch step;
    for (int b = 0; b < of.microbatches(); ++b) {
      Microbatch microbatch{.first_sample = of.first_sample(samples_drawn, data_coordinate, b)};
      for (std::uint64_t i = 0; i < 3; ++i) {
        const std::uint64_t from = of.file_sample(microbatch.first_sample + i) * sequence;
        for (const std::int32_t token : test::known_tokens(from, sequence)) microbatch.tokens.push_back(token);
        for (const std::int32_t token : test::known_tokens(from + 1, sequence)) microbatch.targets.push_back(token);
      }
      step.microbatches.push_back(microbatch);
    }
    return step;
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "train.tok";
};

TEST_F(BatchReaderTest, GivesEveryStepOverSeveralEpochs) {
  for (int coordinate = 0; coordinate < 2; ++coordinate) {
    BatchReader reader(test::open_token_file(path_), plan(), {.data_coordinate = coordinate, .sequence = sequence});
    for (std::uint64_t drawn = 0; drawn < 240; drawn += 12)  // 50 samples an epoch: steps span its end
      ASSERT_EQ(reader.batch(drawn), expected(plan(), drawn, coordinate)) << drawn;
  }
}

TEST_F(BatchReaderTest, DataRanksShareTheBatchOfOneRank) {
  BatchReader alone(test::open_token_file(path_), plan(1), {.sequence = sequence});
  BatchReader first(test::open_token_file(path_), plan(2), {.data_coordinate = 0, .sequence = sequence});
  BatchReader second(test::open_token_file(path_), plan(2), {.data_coordinate = 1, .sequence = sequence});
  std::vector<Microbatch> joined = first.batch(0).microbatches;
  for (const Microbatch& microbatch : second.batch(0).microbatches) joined.push_back(microbatch);
  EXPECT_EQ(alone.batch(0).microbatches, joined);
}

TEST_F(BatchReaderTest, BeginsWhereARestartBegins) {
  BatchReader reader(test::open_token_file(path_), plan(), {.sequence = sequence, .samples_drawn = 36});
  EXPECT_EQ(reader.batch(36), expected(plan(), 36, 0));
  EXPECT_EQ(reader.batch(48), expected(plan(), 48, 0));
}

TEST_F(BatchReaderTest, AnyOtherStepIsRightToo) {
  BatchReader reader(test::open_token_file(path_), plan(), {.sequence = sequence, .steps_ahead = 3});
  const std::vector<std::uint64_t> steps = {24, 36, 0, 0, 12, 1000, 7, 19, 5, 5, 5, 17, std::uint64_t{1} << 40};
  for (const std::uint64_t drawn : steps) ASSERT_EQ(reader.batch(drawn), expected(plan(), drawn, 0)) << drawn;
}

TEST_F(BatchReaderTest, JumpsWhileReadingAheadNeverMixSteps) {
  BatchReader reader(test::open_token_file(path_), plan(), {.sequence = sequence});
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const std::uint64_t drawn = mix_bits(i) % 4 == 0 ? mix_bits(i) % 1000 : i * 12;
    ASSERT_EQ(reader.batch(drawn), expected(plan(), drawn, 0)) << drawn;
  }
}

TEST_F(BatchReaderTest, ErrorsOfTheThreadComeOutOfBatchAtTheirStep) {
  TokenFileHeader header = read_token_header(path_);
  header.largest = 250;  // some tokens of the file contradict it
  BatchReader reader(TokenFile(path_, header), plan(), {.sequence = sequence});
  int bad = 0;
  for (std::uint64_t drawn = 0; drawn < 48; drawn += 12) {
    bool is_bad = false;
    for (const Microbatch& microbatch : expected(plan(), drawn, 0).microbatches)
      for (std::size_t i = 0; i < microbatch.tokens.size(); ++i)
        is_bad = is_bad || microbatch.tokens[i] > 250 || microbatch.targets[i] > 250;
    bad += is_bad;
    if (is_bad) {
      const std::string message = test::input_error([&] { reader.batch(drawn); });
      EXPECT_NE(message.find("above the largest one"), std::string::npos) << drawn << ": " << message;
      EXPECT_THROW(reader.batch(drawn), InputError) << "asking again gives the same";
    } else {
      EXPECT_EQ(reader.batch(drawn), expected(plan(), drawn, 0));
    }
  }
  EXPECT_GT(bad, 0);
}

TEST_F(BatchReaderTest, AnErrorAheadDoesNotHarmTheStepsBefore) {
  const BatchPlan steps = plan();
  const std::uint64_t damaged_sample = steps.file_sample(24);  // of the third step
  std::uint64_t first_user = 1000;
  for (std::uint64_t number = 0; number < 36; ++number) {
    const std::uint64_t sample = steps.file_sample(number);
    const bool reads_it = sample == damaged_sample || sample + 1 == damaged_sample;
    if (reads_it && number % 12 < 6) first_user = std::min(first_user, number / 12 * 12);
  }
  TokenFileWriter writer(folder_ / "low.tok", {});
  writer.append(test::known_tokens(0, 50 * sequence + 3, 200));
  writer.publish();
  std::string bytes = test::read_file(folder_ / "low.tok");
  bytes[64 + damaged_sample * sequence] = '\xff';
  test::write_file(folder_ / "low.tok", bytes);
  BatchReader reader(test::open_token_file(folder_ / "low.tok"), steps, {.sequence = sequence});
  ASSERT_GT(first_user, 0U);
  for (std::uint64_t drawn = 0; drawn < first_user; drawn += 12) EXPECT_NO_THROW(reader.batch(drawn));
  EXPECT_THROW(reader.batch(first_user), InputError);
  EXPECT_NO_THROW(reader.batch(0)) << "another step begins anew";
}

TEST_F(BatchReaderTest, EndsPromptly) {
  const BatchPlan large({.seed = 4, .samples_in_file = 50, .global_batch = 1'000'000, .micro_batch = 1'000'000});
  std::optional<BatchReader> reader;
  reader.emplace(test::open_token_file(path_), large, BatchReaderOptions{.sequence = sequence});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the thread is in the midst of the step
  const auto start = std::chrono::steady_clock::now();
  reader.reset();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took.count(), 0.5);  // one sample takes microseconds, the whole step a second or more
  for (int i = 0; i < 200; ++i) BatchReader(test::open_token_file(path_), plan(), {.sequence = sequence});
}

TEST_F(BatchReaderTest, RefusesAPlanThatDoesNotFit) {
  const BatchPlan too_many({.seed = 4, .samples_in_file = 51, .global_batch = 1, .micro_batch = 1});
  EXPECT_THROW(BatchReader(test::open_token_file(path_), too_many, {.sequence = sequence}), LogicError);
  EXPECT_THROW(BatchReader(test::open_token_file(path_), plan(), {.data_coordinate = 2, .sequence = sequence}),
               LogicError);
}

}  // namespace
}  // namespace penstock::batch_reader_test
