// SPDX-License-Identifier: Apache-2.0
#include "plan/run_config.hpp"
#include "plan/make_plan.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "schedule/csv.hpp"

namespace penstock::run_config_test {
namespace {

constexpr const char* tiny = R"(
[run]
steps = 10
[data]
train = "train.tok"
sequence = 64
[model]
layers = 8
width = 96
heads = 12
positions = 128
[batch]
global = 16
micro = 2
[optimizer]
learning_rate = 1e-3
)";

RunDeck read(const std::vector<std::string>& settings) {
  Deck deck = Deck::parse(tiny, "tiny.toml");
  for (const std::string& setting : settings) deck.set(setting);
  return read_run_deck(deck);
}

/// The message that refuses these settings; empty when they are taken.
std::string refusal(const std::vector<std::string>& settings) {
  try {
    read(settings);
  } catch (const InputError& error) {
    return error.what();
  }
  return {};
}

void expect_refused(const std::vector<std::string>& settings, const std::vector<std::string>& parts) {
  const std::string message = refusal(settings);
  EXPECT_FALSE(message.empty()) << "taken: " << settings.front();
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << "looked for: " << part << "\nin: " << message;
}

TEST(RunDeck, TheSmallestDeckIsTaken) {
  const RunConfig config = read({}).config;
  EXPECT_EQ(config.run.steps, 10);
  EXPECT_EQ(config.run.seed, 1);
  EXPECT_EQ(config.model.vocabulary, 256);
  EXPECT_EQ(config.schedule.name, ScheduleName::one_forward_one_backward);
  EXPECT_EQ(config.schedule.backward, Backward::split);
  EXPECT_EQ(config.mesh.data * config.mesh.pipeline * config.mesh.tensor, 1);
  EXPECT_TRUE(config.mesh.sequence_parallel);
  EXPECT_EQ(config.compute_type(), DType::float32);
  EXPECT_EQ(read({"precision.compute=bfloat16"}).config.compute_type(), DType::bfloat16);
}

TEST(RunDeck, GradientsAreBfloat16OnlyWhereNothingIsAddedToThem) {
  const auto type = [](const std::vector<std::string>& settings) {
    std::vector<std::string> all{"batch.global=2", "batch.micro=2", "precision.compute=bfloat16"};
    all.insert(all.end(), settings.begin(), settings.end());
    return read(all).config.gradient_type();
  };
  EXPECT_EQ(type({}), DType::bfloat16);
  EXPECT_EQ(type({"mesh.tensor=2"}), DType::bfloat16);
  EXPECT_EQ(type({"precision.compute=float32"}), DType::float32);
  EXPECT_EQ(type({"precision.gradients=float32"}), DType::float32);
  EXPECT_EQ(type({"batch.micro=1"}), DType::float32);
  EXPECT_EQ(type({"mesh.data=2", "batch.micro=1"}), DType::float32);
  EXPECT_EQ(type({"mesh.pipeline=2"}), DType::float32);
}

TEST(RunDeck, EveryRequiredKeyIsMissedAtOnce) {
  try {
    read_run_deck(Deck::parse("", "empty.toml"));
    FAIL() << "an empty deck was taken";
  } catch (const InputError& error) {
    const std::string message = error.what();
    for (const char* key : {"run.steps", "data.train", "data.sequence", "model.layers", "model.width", "model.heads",
                            "model.positions", "batch.global", "batch.micro", "optimizer.learning_rate"})
      EXPECT_NE(message.find(key), std::string::npos) << key << " in: " << message;
  }
}

TEST(RunDeck, HeadsDivideTheWidth) {
  expect_refused({"model.heads=7"},
                 {"model.heads = 7", "model.width = 96", "2, 3, 4, 6, 8, 12, 16", "--set model.heads=7"});
}

TEST(RunDeck, TensorRanksDivideTheHeads) {
  expect_refused({"mesh.tensor=5"}, {"mesh.tensor = 5", "model.heads = 12", "1, 2, 3, 4, 6 or 12"});
  EXPECT_EQ(refusal({"mesh.tensor=4"}), "");
}

TEST(RunDeck, MicrobatchesOfAllReplicasDivideTheBatch) {
  expect_refused({"batch.micro=3"}, {"batch.global = 16", "batch.micro * mesh.data = 3 * 1 = 3", "multiple of 3"});
  expect_refused({"mesh.data=3"}, {"batch.global = 16", "2 * 3 = 6"});
  EXPECT_EQ(read({"mesh.data=4"}).config.microbatches(), 2);
  EXPECT_EQ(read({}).config.microbatches(), 8);
  EXPECT_EQ(read({"mesh.data=4"}).config.tokens_per_step(), 16 * 64) << "the mesh changes nothing";
}

TEST(RunDeck, MicrobatchesDivideTheValidationSamples) {
  expect_refused({"data.validation=v.tok", "validation.samples=25"},
                 {"validation.samples = 25", "batch.micro * mesh.data = 2 * 1 = 2"});
  EXPECT_EQ(refusal({"data.validation=v.tok", "validation.samples=26"}), "");
  EXPECT_EQ(refusal({"batch.global=12", "mesh.data=3"}), "") << "64 is no multiple of 6, and nothing is validated";
}

TEST(RunDeck, SequencesFitThePositions) {
  expect_refused({"data.sequence=129"}, {"data.sequence = 129", "model.positions = 128", "at most 128"});
  EXPECT_EQ(refusal({"data.sequence=128"}), "");
}

TEST(RunDeck, TensorRanksDivideTheTokensWhereTheyAreCut) {
  expect_refused({"mesh.tensor=3"},
                 {"mesh.tensor = 3", "batch.micro * data.sequence = 2 * 64", "mesh.sequence_parallel = false"});
  EXPECT_EQ(refusal({"mesh.tensor=3", "mesh.sequence_parallel=false"}), "");
}

TEST(RunDeck, EveryStageHasABlock) {
  expect_refused({"mesh.pipeline=9"}, {"mesh.pipeline = 9", "model.layers = 8", "at most 8"});
  EXPECT_EQ(refusal({"mesh.pipeline=8"}), "");
}

TEST(RunDeck, AGivenPartitionFits) {
  expect_refused({"mesh.pipeline=2", "schedule.partition=[3, 4]"},
                 {"schedule.partition = [3, 4]", "2 stages", "8 blocks"});
  expect_refused({"schedule.partition=[4, 4]"}, {"1 stages"});
  EXPECT_EQ(refusal({"mesh.pipeline=2", "schedule.partition=[3, 5]"}), "");
}

TEST(RunDeck, CapturesNameTapsOfTheModel) {
  expect_refused({"capture.steps=[1]"}, {"capture.taps is empty"});
  expect_refused({"capture.steps=[1]", "capture.taps=[\"blocks.8\"]"}, {"\"blocks.8\"", "0 to 7"});
  EXPECT_EQ(refusal({"capture.steps=[1]", "capture.taps=[\"blocks.*.mlp\", \"loss\"]"}), "");
}

TEST(RunDeck, SizesBeyondCountingAreRefusedWithoutOverflow) {
  const std::string huge = "4611686018427387904";  // 2^62: any product of two such overflows
  for (const char* key : {"mesh.data", "mesh.pipeline", "mesh.tensor", "model.layers", "model.width", "model.heads",
                          "model.positions", "batch.global", "batch.micro", "data.sequence"})
    expect_refused({std::string(key) + "=" + huge}, {key});
  expect_refused({"batch.micro=" + huge, "data.sequence=" + huge, "mesh.data=" + huge, "mesh.tensor=" + huge,
                  "model.positions=" + huge},
                 {"batch.micro", "data.sequence", "mesh.data", "mesh.tensor", "model.positions"});
}

TEST(RunDeck, SeveralMistakesAreShownTogether) {
  expect_refused({"model.heads=7", "batch.micro=3", "data.sequence=500", "mesh.pipeline=9", "optimizer.warmup=-1",
                  "model.layer=3"},
                 {"model.width = 96", "batch.global = 16", "model.positions = 128", "model.layers = 8",
                  "optimizer.warmup", "model.layer"});
}

TEST(RunDeck, AnUnknownKeyIsRefusedWithTheNearest) {
  expect_refused({"optimizer.learningrate=1"}, {"optimizer.learning_rate"});
}

TEST(RunDeck, ChoicesAreNamed) {
  expect_refused({"schedule.name=gpipe"}, {"schedule.name", "fifo", "1f1b"});
  expect_refused({"schedule.backward=both"}, {"split", "fused"});
  expect_refused({"schedule.name=zb-h1", "schedule.backward=fused"}, {"schedule zb-h1", "backward = split"});
  expect_refused({"schedule.name=fifo", "schedule.chunks=2"},
                 {"--set schedule.chunks=2: schedule.chunks = 2, but schedule.name = \"fifo\" runs 1 stage a rank; use "
                  "schedule.chunks = 1, or schedule.name = ring, breadth-first or zb-v"});
  expect_refused({"schedule.name=zb-v", "schedule.chunks=3"},
                 {"schedule.chunks = 3, but schedule.name = \"zb-v\" runs 2 stages a rank; use schedule.chunks = 2, or "
                  "schedule.name = ring or breadth-first"});
  expect_refused({"mesh.pipeline=4", "schedule.name=ring", "schedule.chunks=3"},
                 {"mesh.pipeline * schedule.chunks = 4 * 3 = 12", "model.layers = 8", "at most 2 chunks"});
  expect_refused({"mesh.pipeline=8", "schedule.name=zb-v"}, {"8 * 2 = 16", "zb-v has two chunks a rank"});
  expect_refused({"mesh.pipeline=2", "schedule.name=ring", "schedule.chunks=2", "schedule.partition=[4, 4]"},
                 {"4 stages", "8 blocks"});
  EXPECT_EQ(refusal({"mesh.pipeline=2", "schedule.name=ring", "schedule.chunks=2", "schedule.partition=[1, 3, 3, 1]"}),
            "");
  expect_refused({"precision.compute=float16"}, {"float32", "bfloat16"});
  expect_refused({"optimizer.decay=step"}, {"cosine", "linear", "wsd"});
  expect_refused({"optimizer.decay=wsd"}, {"optimizer.decay = \"wsd\" falls over", "name at least 1"});
  expect_refused({"optimizer.decay_steps=3"}, {"are of optimizer.decay = \"wsd\", and it is \"cosine\""});
  expect_refused({"optimizer.decay_shape=sqrt"}, {"are of optimizer.decay = \"wsd\""});
  expect_refused({"optimizer.decay=wsd", "optimizer.decay_steps=1000000"}, {"do not fit into run.steps"});
  EXPECT_EQ(refusal({"optimizer.decay=wsd", "optimizer.decay_steps=3", "optimizer.decay_shape=sqrt"}), "");
}

TEST(RunDeck, NumbersThatSinglePrecisionDoesNotHoldAreRefused) {
  expect_refused({"optimizer.beta1=0.99999999"}, {"optimizer.beta1 = 0.99999999 becomes 1 as a float32", "0.99999994"});
  expect_refused({"optimizer.beta2=0.99999999"}, {"optimizer.beta2 = 0.99999999 becomes 1 as a float32", "0.99999994"});
  expect_refused({"optimizer.epsilon=1e-46"}, {"optimizer.epsilon = 1e-46 becomes 0 as a float32", "1.1754944e-38"});
  expect_refused({"optimizer.learning_rate=1e-46"}, {"optimizer.learning_rate = 1e-46 becomes 0 as a float32"});
  expect_refused({"optimizer.learning_rate=1e39"}, {"optimizer.learning_rate = 1e+39 becomes inf as a float32"});
  expect_refused({"optimizer.weight_decay=1e-46"}, {"optimizer.weight_decay = 1e-46 becomes 0 as a float32", "0, or"});
  expect_refused({"optimizer.clip=1e-46"}, {"optimizer.clip = 1e-46 becomes 0 as a float32"});
  expect_refused({"model.dropout_residual=1e-6"}, {"= 1e-06 becomes 0 as a multiple of 1/65536", "use 0, or at least"});
  expect_refused({"model.dropout_attention=0.999999"}, {"becomes 1 as a multiple of 1/65536", "use at most 0.99998"});
  EXPECT_EQ(refusal({"optimizer.beta2=0.9999", "optimizer.epsilon=1e-30", "model.dropout_residual=1e-5"}), "");
}

TEST(RunDeck, AWarmupThatIsNotShorterThanTheRunIsWarnedOf) {
  const auto warnings = [](const std::string& warmup) { return deck_warnings(read({warmup}).config); };
  EXPECT_TRUE(warnings("optimizer.warmup=0").empty());
  EXPECT_TRUE(warnings("optimizer.warmup=9").empty());
  ASSERT_EQ(warnings("optimizer.warmup=10").size(), 1U);
  ASSERT_EQ(warnings("optimizer.warmup=40").size(), 1U);
  EXPECT_EQ(
      warnings("optimizer.warmup=40").front(),
      "optimizer.warmup = 40 is not below run.steps = 10: the learning rate only rises, to 0.00025 of the 0.001 of "
      "optimizer.learning_rate in the last step; use a shorter warmup, or more steps");
}

TEST(RunDeck, TheEffectiveDeckReadsAsItself) {
  const RunDeck first = read({"mesh.tensor=2", "capture.taps=[\"loss\"]", "capture.steps=[1, 3]",
                              "optimizer.learning_rate=0.00012345678901234567", "data.train=a \"quoted\" name",
                              "mesh.pipeline=2", "schedule.partition=[3, 5]"});
  const RunDeck second = read_run_deck(Deck::parse(first.effective, "deck.toml"));
  EXPECT_EQ(second.effective, first.effective);
  EXPECT_EQ(second.config.mesh.tensor, 2);
  EXPECT_EQ(second.config.capture.steps, (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(second.config.optimizer.learning_rate, first.config.optimizer.learning_rate);
  EXPECT_EQ(second.config.data.train, "a \"quoted\" name");
  EXPECT_NE(first.effective.find("beta2"), std::string::npos) << "defaults are in it";
}

TEST(RunConfig, TheMeshHasThePipelineOutermostAndTensorInnermost) {
  const Mesh mesh = read({"mesh.data=2", "mesh.pipeline=4", "mesh.tensor=2"}).config.make_mesh();
  ASSERT_EQ(mesh.size(), 16);
  for (int rank = 0; rank < 16; ++rank) {
    const MeshPlace place(mesh, rank);
    EXPECT_EQ((place.at(Axis::pipeline) * 2 + place.at(Axis::data)) * 2 + place.at(Axis::tensor), rank);
    EXPECT_EQ(place.ranks_along(Axis::data), 2);
  }
}

TEST(RunConfig, HintsAreNamesAndValues) {
  RunConfig config = read({"checkpoint.mpi_io_hints=[\"striping_factor=16\", \"cb_nodes=a=b\"]"}).config;
  using Hints = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(config.mpi_io_hints(), (Hints{{"striping_factor", "16"}, {"cb_nodes", "a=b"}}));
  for (const char* hint : {"striping_factor", "=16", ""}) {
    config.checkpoint.mpi_io_hints = {hint};
    EXPECT_THROW(config.mpi_io_hints(), InputError) << hint;
  }
}

TEST(MakePlan, FollowsFromTheConfig) {
  const ModelPlan plan = make_plan(read({"mesh.data=2", "mesh.pipeline=4", "mesh.tensor=2", "run.seed=9"}).config);
  EXPECT_EQ(plan.seed, 9U);
  EXPECT_EQ(plan.cut.tensor, 2);
  EXPECT_EQ(plan.micro, 2);
  EXPECT_EQ(plan.sequence, 64);
  EXPECT_EQ(plan.microbatches(), 4);
  ASSERT_EQ(plan.parts.size(), 4U);
  EXPECT_TRUE(plan.schedule.lowered);
  EXPECT_TRUE(plan.schedule.tied);
  EXPECT_EQ(plan.schedule.pipeline, 4);
  EXPECT_EQ(plan.parameters.size(), 2U + 8 * 12 + 2);
}

TEST(MakePlan, TakesTheGivenPartition) {
  const ModelPlan plan = make_plan(read({"mesh.pipeline=3", "schedule.partition=[1, 5, 2]"}).config);
  ASSERT_EQ(plan.parts.size(), 3U);
  EXPECT_EQ(plan.parts[1].blocks, 5);
  EXPECT_EQ(plan.parts[2].first_block, 6);
}

TEST(MakePlan, TakesATableOfTheUsersOwn) {
  RunConfig config = read({"mesh.pipeline=2", "batch.global=8", "schedule.file=my.csv"}).config;
  const std::string csv = to_csv(generate({.name = ScheduleName::zb_v, .pipeline = 2, .microbatches = 4}));
  config.schedule.table = csv;
  const ModelPlan plan = make_plan(config);
  EXPECT_EQ(plan.schedule.name, "my");
  EXPECT_EQ(plan.parts.size(), 4U);
  EXPECT_EQ(plan.schedule.placement, (std::vector<int>{0, 1, 1, 0}));
  EXPECT_EQ(to_csv(plan.schedule), csv);

  const auto refusal_of = [&](const std::string& table, auto&& change) {
    RunConfig other = config;
    other.schedule.table = table;
    change(other);
    try {
      make_plan(other);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto expect_in = [](const char* part, const std::string& text) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  const auto nothing = [](RunConfig&) {};
  expect_in("my.csv: the table has 2 lines, one a pipeline rank, but mesh.pipeline = 4; set mesh.pipeline = 2",
            refusal_of(csv, [](RunConfig& c) { c.mesh.pipeline = 4; }));
  expect_in("my.csv: the table has 4 microbatches, but batch.global / (batch.micro * mesh.data) = 16 / (2 * 1) = 8",
            refusal_of(csv, [](RunConfig& c) { c.batch.global = 16; }));
  expect_in("my.csv: the table has 4 stages, but model.layers = 3",
            refusal_of(csv, [](RunConfig& c) { c.model.layers = 3; }));
  expect_in("2 stages a rank, but schedule.chunks = 1", refusal_of(csv, [](RunConfig& c) { c.schedule.chunks = 1; }));
  expect_in("schedule.partition = [8] must name 4 stages",
            refusal_of(csv, [](RunConfig& c) { c.schedule.partition = {8}; }));
  expect_in("my.csv:2: cell 2: '1X0' is no action", refusal_of("0F0,0B0\n1F0,1X0\n", nothing));
}

TEST(MakePlan, TheMeshDoesNotChangeWhatIsTrained) {
  const ModelPlan one = make_plan(read({}).config),
                  many = make_plan(read({"mesh.data=2", "mesh.pipeline=4", "mesh.tensor=2"}).config);
  ASSERT_EQ(one.parameters.size(), many.parameters.size());
  for (std::size_t p = 0; p < one.parameters.size(); ++p) {
    EXPECT_EQ(one.parameters[p].name, many.parameters[p].name);
    EXPECT_EQ(one.parameters[p].shape, many.parameters[p].shape);
  }
}

}  // namespace
}  // namespace penstock::run_config_test
