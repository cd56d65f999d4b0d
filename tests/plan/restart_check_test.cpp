// SPDX-License-Identifier: Apache-2.0
#include "plan/restart_check.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.hpp"
#include "data/temporary_folder.hpp"

namespace penstock::restart_check_test {
namespace {

using test::TemporaryFolder;

constexpr const char* written = R"(
[run]
seed = 3
[data]
train = "one.tok"
sequence = 16
[model]
family = "gpt2"
heads = 4
[batch]
global = 8
)";

std::string with(std::string text, const std::string& before, const std::string& now) {
  return text.replace(text.find(before), before.size(), now);
}

TEST(RestartCheck, TheSameDeckChangesNothing) {
  const RestartCheck check("step.h5", {written}, {written});
  EXPECT_NO_THROW(check.ensure_same_function());
  EXPECT_TRUE(check.changes_of_data().empty());
  EXPECT_EQ(check.earlier_sequence(), 16);
}

TEST(RestartCheck, OtherHeadsAreAnotherModel) {
  const RestartCheck check("step.h5", {written}, {with(written, "heads = 4", "heads = 2")});
  try {
    check.ensure_same_function();
    FAIL() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("step.h5: holds another model: model.heads is 4 in the file, 2 in the deck"),
              std::string::npos)
        << message;
  }
}

TEST(RestartCheck, AZeroIsWhatItStandsFor) {
  const std::string now = with(with(written, "gpt2", "llama"), "heads = 4", "heads = 4\nwidth = 32\nkv_heads = 0");
  const auto ensure = [&](const std::string& before) {
    RestartCheck("imported.h5", {before}, {now}).ensure_same_function();
  };
  EXPECT_NO_THROW(ensure(with(now, "kv_heads = 0", "kv_heads = 4")));
  EXPECT_THROW(ensure(with(now, "kv_heads = 0", "kv_heads = 2")), InputError);
}

TEST(RestartCheck, EveryKeyOfTheDataIsTold) {
  std::string now = with(written, "seed = 3", "seed = 4");
  now = with(with(with(now, "one.tok", "two.tok"), "sequence = 16", "sequence = 8"), "global = 8", "global = 4");
  const std::vector<std::string> lines = RestartCheck("step.h5", {written}, {now}).changes_of_data();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "the checkpoint was made with run.seed = 3, the deck says 4: data order and dropout change here");
  EXPECT_NE(lines[1].find("data.train = \"one.tok\", the deck says \"two.tok\""), std::string::npos) << lines[1];
  EXPECT_NE(lines[2].find("data.sequence = 16, the deck says 8"), std::string::npos) << lines[2];
  EXPECT_NE(lines[3].find("batch.global = 8, the deck says 4"), std::string::npos) << lines[3];
}

TEST(RestartCheck, TwoNamesOfOneFileAreNoChange) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "one.tok") << "text";
  std::filesystem::create_symlink("one.tok", folder.path() / "link.tok");
  const std::string before = with(written, "one.tok", (folder.path() / "one.tok").string());
  const std::string now = with(written, "one.tok", (folder.path() / "link.tok").string());
  EXPECT_TRUE(RestartCheck("step.h5", {before}, {now}).changes_of_data().empty());
}

constexpr const char* rates = R"(
[run]
steps = 10
[optimizer]
learning_rate = 0.001
warmup = 2
decay = "cosine"
final = 0.1
[capture]
steps = [2, 4]
)";

TEST(RestartCheck, AJumpOfTheLearningRateIsToldWithItsKeys) {
  const auto change = [](const std::string& now, std::int64_t step) {
    return RestartCheck("step.h5", {rates}, {now}).change_of_rate(step).value_or("");
  };
  EXPECT_EQ(change(rates, 5), "");
  EXPECT_EQ(change(with(rates, "[2, 4]", "[6]"), 5), "");
  // Step 11 is after the end of the old curve: its final rate. Of 100 steps the curve has hardly begun to fall.
  EXPECT_EQ(change(with(rates, "steps = 10", "steps = 100"), 10),
            "the learning rate of step 11 is 0.0009814, and would be 0.0001 with the deck that the checkpoint was made "
            "with: run.steps was 10 and is 100; keep the old values where no jump is meant");
  EXPECT_EQ(change(with(rates, "steps = 10", "steps = 100"), 1), "") << "the warmup is the same";
  const std::string both = with(with(rates, "0.001", "0.002"), "warmup = 2", "warmup = 4");
  EXPECT_EQ(change(both, 0), "") << "0.002 / 4 is 0.001 / 2";
  EXPECT_NE(change(both, 3).find("optimizer.learning_rate was 0.001 and is 0.002, optimizer.warmup was 2 and is 4;"),
            std::string::npos)
      << change(both, 3);
  EXPECT_NE(change(with(rates, "cosine", "linear"), 3), "");
  EXPECT_NE(change(with(rates, "final = 0.1", "final = 0.2"), 3), "");
  EXPECT_EQ(RestartCheck("step.h5", {"[run]\nsteps = 10\n"}, {rates}).change_of_rate(5), std::nullopt);
}

TEST(RestartCheck, StepsThatTheCheckpointNamedAreKnown) {
  const RestartCheck check("step.h5", {rates}, {written});
  EXPECT_EQ(check.steps_before("capture.steps"), (std::vector<std::int64_t>{2, 4}));
  EXPECT_TRUE(check.steps_before("trace.steps").empty());
}

TEST(RestartCheck, ADeckThatSaysLessIsNotJudged) {
  const RestartCheck check("step.h5", {""}, {written});
  EXPECT_NO_THROW(check.ensure_same_function());
  EXPECT_TRUE(check.changes_of_data().empty());
  EXPECT_FALSE(check.earlier_sequence());
}

const DataIdentity short_text{{.tokens = 100, .digest = "fnv1a64-1"}};
const DataIdentity longer_text{{.tokens = 150, .digest = "fnv1a64-2"}};

std::string refusal_of_data(const RestartCheck& check) {
  try {
    check.ensure_same_data();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(RestartCheck, TheSameDataUnderAnotherNameAreNoChange) {
  const std::string now = with(written, "one.tok", "two.tok");
  const RestartCheck check("step.h5", {written, json_of(short_text)}, {now, json_of(short_text)});
  EXPECT_EQ(refusal_of_data(check), "");
  EXPECT_TRUE(check.changes_of_data().empty());
}

TEST(RestartCheck, AnotherTokenizerIsNamedAsSuch) {
  const DataIdentity before{{.tokens = 100, .digest = "fnv1a64-1", .tokenizer = "fnv1a64-a"}};
  const DataIdentity now{{.tokens = 100, .digest = "fnv1a64-2", .tokenizer = "fnv1a64-b"}};
  const std::string message =
      refusal_of_data(RestartCheck("step.h5", {written, json_of(before)}, {written, json_of(now)}));
  for (const char* part : {"step.h5: data.train was made with another tokenizer", "fnv1a64-a then, fnv1a64-b now",
                           "with the checkpoint's tokenizer", "data.changed = \"continue\""})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
}

TEST(RestartCheck, WhatIsNotKnownOfATokenizerIsNoChange) {
  DataIdentity now = short_text;
  now[0].tokenizer = unknown_tokenizer;
  const RestartCheck check("step.h5", {written, json_of(short_text)}, {written, json_of(now)});
  EXPECT_EQ(refusal_of_data(check), "") << "before, such a file was said to hold bytes";
  EXPECT_TRUE(check.changes_of_data().empty());
}

TEST(RestartCheck, OtherDataUnderTheSameNameAreRefusedWithBothAndTheCure) {
  const RestartCheck check("step.h5", {written, json_of(short_text)}, {written, json_of(longer_text)});
  const std::string message = refusal_of_data(check);
  for (const char* part : {"step.h5: data.train is not the data", "100 tokens (fnv1a64-1) then",
                           "150 tokens (fnv1a64-2) now", "data.changed = \"continue\""})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
}

TEST(RestartCheck, OtherDataAreToldWhereTheDeckAllowsThem) {
  const std::string now = with(written, "sequence = 16", "sequence = 16\nchanged = \"continue\"");
  const RestartCheck check("step.h5", {written, json_of(short_text)}, {now, json_of(longer_text)});
  EXPECT_EQ(refusal_of_data(check), "");
  ASSERT_EQ(check.changes_of_data().size(), 1u);
  EXPECT_NE(check.changes_of_data()[0].find("100 tokens (fnv1a64-1) then, 150 tokens (fnv1a64-2) now"),
            std::string::npos);
}

TEST(RestartCheck, WhereNoDataAreRecordedTheNameDecidesAndThatIsTold) {
  const RestartCheck same("step.h5", {written}, {written, json_of(short_text)});
  EXPECT_EQ(refusal_of_data(same), "");
  ASSERT_EQ(same.changes_of_data().size(), 1u);
  EXPECT_NE(same.changes_of_data()[0].find("does not record which data"), std::string::npos);
  const RestartCheck other("step.h5", {written}, {with(written, "one.tok", "two.tok"), json_of(short_text)});
  ASSERT_EQ(other.changes_of_data().size(), 2u);
  EXPECT_NE(other.changes_of_data()[1].find("data.train = \"one.tok\""), std::string::npos);
}

}  // namespace
}  // namespace penstock::restart_check_test
