// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 4 LABELS exactness
// Checkpoints written under one layout and read under another, bit for bit; and what a load refuses.

#include "checkpoint/checkpoint.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <fstream>

#include "checkpoint/array_stream.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "checkpoint/sample_model.hpp"
#include "storage/shared_folder.hpp"

namespace penstock::checkpoint_test {
namespace {

const CheckpointMeta meta{.step = 100, .samples = 1600, .seed = -5, .deck = "[run]\nname = \"säule\"\n"};

std::vector<SampleMesh> meshes(int ranks) {
  switch (ranks) {
    case 1:
      return {{1, 1, 1}};
    case 2:
      return {{2, 1, 1}, {2, 1, 1, false}, {1, 2, 1}, {1, 1, 2}};
    default:
      return {{4, 1, 1}, {1, 1, 4}, {2, 1, 2}, {2, 2, 1}, {1, 2, 2}, {2, 1, 2, false}};
  }
}

class CheckpointTest : public testing::Test {
 protected:
  World& world = test_world();
  SharedFolder folder{world};
  IoThread io;

  SaveOutcome save(const SampleMesh& mesh, Writers& writers, CheckpointMeta about = meta, SaveOptions options = {}) {
    const auto specs = sample_specs(mesh);
    const auto layouts = sample_layouts(mesh, specs);
    SampleState state(specs, layouts[static_cast<std::size_t>(world.rank())]);
    state.fill();
    return save_checkpoint(world, writers, folder.path(), about, specs, layouts, state.memory(), options);
  }

  CheckpointInfo load(const SampleMesh& mesh, const std::filesystem::path& path, std::int64_t& wrong) {
    const auto specs = sample_specs(mesh);
    const auto layouts = sample_layouts(mesh, specs);
    SampleState state(specs, layouts[static_cast<std::size_t>(world.rank())]);
    const CheckpointInfo info = load_checkpoint(world, io, path, specs, state.parameters().layout(), state.memory());
    wrong = state.wrong();
    return info;
  }

  // Elements of the file that are not the model's, seen by one process that knows no mesh.
  std::int64_t wrong_in_file(const std::filesystem::path& path) {
    return io
        .run([&] {
          ArrayReader reader(path, {checkpoint_format});
          std::int64_t wrong = 0;
          for (const State state : states)
            for (const ParameterSpec& spec : sample_specs({})) {
              const std::vector<float> expected = sample_values(spec, state);
              std::vector<float> found(expected.size());
              reader.read(*reader.contents().find(path_of(state, spec.name)), Box{{}, spec.shape, 0}, found.data());
              for (std::size_t i = 0; i < found.size(); ++i) wrong += found[i] != expected[i];
            }
          return wrong;
        })
        .get();
  }
};

TEST_F(CheckpointTest, EveryLayoutReadsWhatEveryOtherWrote) {
  Writers writers(world, io, {});
  const auto path = folder.path() / "step-00000100.h5";
  for (const SampleMesh& writing : meshes(world.size())) {
    const SaveOutcome outcome = save(writing, writers);
    ASSERT_TRUE(outcome.ok) << outcome.message;
    EXPECT_EQ(outcome.bytes, std::filesystem::file_size(path));
    if (world.rank() == 0) {
      EXPECT_EQ(wrong_in_file(path), 0);
    }
    for (const SampleMesh& reading : meshes(world.size())) {
      std::int64_t wrong = -1;
      const CheckpointInfo info = load(reading, path, wrong);
      EXPECT_EQ(wrong, 0) << "written under " << writing.data << writing.stages << writing.tensor << ", read under "
                          << reading.data << reading.stages << reading.tensor;
      EXPECT_EQ(info.meta.step, 100);
      EXPECT_EQ(info.meta.samples, 1600);
      EXPECT_EQ(info.meta.seed, -5);
      EXPECT_EQ(info.meta.deck, meta.deck);
      EXPECT_EQ(info.datasets.size(), 27U);
    }
    world.barrier();
  }
}

// How much of a state is zero, or what the sample has: parameters from a file, moments from nowhere.
struct StateFound {
  std::int64_t wrong_parameters = 0, other_moments = 0;
};
StateFound look_at(const SampleState& state) {
  StateFound found;
  for (const State kind : states)
    for (const OwnedBox& owned : state.parameters().layout().owned()) {
      std::vector<float> expected(static_cast<std::size_t>(owned.box.elements()));
      if (kind == State::parameters)
        fill_initial(state.parameters().specs()[owned.parameter], sample_seed(kind), owned.box, expected.data());
      const float* values = state.memory()(kind, owned);
      for (std::size_t i = 0; i < expected.size(); ++i)
        (kind == State::parameters ? found.wrong_parameters : found.other_moments) += values[i] != expected[i];
    }
  return found;
}

TEST_F(CheckpointTest, AFileOfParametersAloneGivesMomentsOfZero) {
  const auto path = folder.path() / "imported.h5";
  std::uint64_t bytes = 0;
  world.together([&] {
    if (world.rank() != 0) return;
    StreamedFile file{.path = path, .attributes = checkpoint_attributes({.deck = "", .has_moments = false})};
    std::vector<std::vector<float>> values;
    for (const ParameterSpec& spec : sample_specs({})) {
      file.arrays.push_back({path_of(State::parameters, spec.name), spec.shape, DType::float32, {}, {}});
      values.push_back(sample_values(spec, State::parameters));
    }
    file.fill = [&](std::size_t array, const Box& block, float* to) {
      const std::int64_t width = block.extent.elements() / block.extent[0];
      std::copy_n(values[array].data() + block.offset[0] * width, block.extent.elements(), to);
    };
    file.block_bytes = 1 << 20;  // the largest array has two
    bytes = stream_arrays(world, io, file);
    EXPECT_EQ(bytes, std::filesystem::file_size(path));
  });
  Writers writers(world, io, {});
  ASSERT_TRUE(save(meshes(world.size()).front(), writers).ok);
  for (const SampleMesh& mesh : meshes(world.size()))
    for (const bool imported : {true, false}) {
      const auto specs = sample_specs(mesh);
      SampleState state(specs, sample_layouts(mesh, specs)[static_cast<std::size_t>(world.rank())]);
      state.fill();
      const CheckpointInfo info =
          load_checkpoint(world, io, imported ? path : folder.path() / "step-00000100.h5", specs,
                          state.parameters().layout(), state.memory(), {.parameters_only = !imported});
      EXPECT_EQ(info.meta.has_moments, !imported);
      const StateFound found = look_at(state);
      EXPECT_EQ(found.wrong_parameters, 0);
      EXPECT_EQ(found.other_moments, 0);
    }
}

TEST_F(CheckpointTest, AStreamThatFailsLeavesNothing) {
  if (world.rank() == 0) {
    const StreamedFile file{.path = folder.path() / "imported.h5",
                            .attributes = checkpoint_attributes({.deck = "", .has_moments = false}),
                            .arrays = {{"/parameters/a", {4096, 512}, DType::float32, {}, {}}},
                            .fill =
                                [](std::size_t, const Box& block, float*) {
                                  if (block.offset[0] > 0) throw InputError("no more");
                                },
                            .block_bytes = 1 << 20};
    EXPECT_THROW(stream_arrays(world, io, file), InputError);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  }
  world.barrier();
}

TEST_F(CheckpointTest, AnyNumberOfWritersGivesTheSameArrays) {
  const auto path = folder.path() / "step-00000100.h5";
  for (int count = 1; count <= world.size(); count *= 2) {
    Writers writers(world, io, {.count = count});
    // Rounds of 100 kB: many arrays in one round, and one array in many.
    const SaveOutcome outcome = save(meshes(world.size()).back(), writers, meta, {.round_bytes = 100000});
    ASSERT_TRUE(outcome.ok) << outcome.message;
    if (world.rank() == 0) {
      EXPECT_EQ(wrong_in_file(path), 0) << count << " writers";
    }
    world.barrier();
  }
}

TEST_F(CheckpointTest, OtherProgramsReadIt) {
  Writers writers(world, io, {});
  ASSERT_TRUE(save(meshes(world.size()).front(), writers).ok);
  if (world.rank() != 0) return;
  if (std::system("/usr/bin/python3 -c 'import h5py' 2> /dev/null") != 0) GTEST_SKIP() << "h5py is not installed";
  const std::string script = std::filesystem::path(PENSTOCK_SOURCE_DIR) / "tests/checkpoint/read_with_h5py.py";
  EXPECT_EQ(std::system(("/usr/bin/python3 " + script + " " + (folder.path() / "step-00000100.h5").string()).c_str()),
            0);
}

// The message that all ranks get.
template <typename Function>
std::string refusal(Function function) {
  try {
    function();
  } catch (const CollectiveFailure& failure) {
    EXPECT_EQ(failure.exit_code(), 2);
    return failure.what();
  }
  ADD_FAILURE() << "was not refused";
  return "";
}

TEST_F(CheckpointTest, AnotherModelIsRefusedWithTheFirstDifference) {
  Writers writers(world, io, {});
  const SampleMesh mesh = meshes(world.size()).front();
  ASSERT_TRUE(save(mesh, writers).ok);
  const auto load_as = [&](const std::vector<ParameterSpec>& specs) {
    const auto layouts = sample_layouts(mesh, specs);
    SampleState state(specs, layouts[static_cast<std::size_t>(world.rank())]);
    load_checkpoint(world, io, folder.path() / "step-00000100.h5", specs, state.parameters().layout(), state.memory());
  };
  auto more = sample_specs(mesh);
  more.push_back({.name = "blocks.2.bias", .shape = {3}, .split = {}, .stages = {0}});
  EXPECT_NE(refusal([&] { load_as(more); }).find("/parameters/blocks.2.bias [3] is missing"), std::string::npos);
  auto fewer = sample_specs(mesh);
  fewer.pop_back();
  EXPECT_NE(refusal([&] { load_as(fewer); }).find("final_norm.weight [24] is in the file"), std::string::npos);
  auto wider = sample_specs(mesh);
  wider[1].shape = {16, 32};
  const std::string message = refusal([&] { load_as(wider); });
  EXPECT_NE(message.find("embedding.position.weight is float32 [16, 24] in the file, float32 [16, 32]"),
            std::string::npos)
      << message;
}

TEST_F(CheckpointTest, WhatIsNoCheckpointIsRefused) {
  if (world.rank() == 0)
    std::ofstream(folder.path() / "text.h5") << "This is a text, and has been one for a long time.";
  world.barrier();
  const auto message = [&](const char* name) {
    return refusal([&] { verify_checkpoint(world, io, folder.path() / name); });
  };
  EXPECT_NE(message("text.h5").find("not an HDF5 file"), std::string::npos);
  EXPECT_NE(message("step-1.h5").find("No such file"), std::string::npos);
  EXPECT_NE(message(".").find("is a folder"), std::string::npos);
}

TEST_F(CheckpointTest, HowProductsAreMadeComesAlongWhereItIsKnown) {
  Writers writers(world, io, {});
  const SampleMesh mesh = meshes(world.size()).front();
  CheckpointMeta about = meta;
  for (const std::string& products : {std::string(), "columns\n" + std::string(48000, 'x') + "\nend\t1\n"}) {
    about.products = products;
    ++about.step;
    ASSERT_TRUE(save(mesh, writers, about).ok);
    std::int64_t wrong = 0;
    const CheckpointInfo info = load(mesh, folder.path() / checkpoint_name(about.step), wrong);
    EXPECT_EQ(info.meta.products, products);
    EXPECT_EQ(info.meta.deck, meta.deck);
    EXPECT_EQ(wrong, 0);
  }
}

TEST_F(CheckpointTest, LatestPassesOverWhatIsNotWhole) {
  EXPECT_FALSE(find_latest(world, io, folder.path() / "nowhere").file);
  Writers writers(world, io, {});
  const SampleMesh mesh = meshes(world.size()).front();
  for (const int step : {90, 100, 110, 120}) {
    CheckpointMeta about = meta;
    about.step = step;
    ASSERT_TRUE(save(mesh, writers, about).ok);
  }
  if (world.rank() == 0) {
    // A byte in the middle of a chunk, and a file that ends too early.
    std::fstream file(folder.path() / "step-00000120.h5", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(3000000);
    file.put('\x55');
    std::filesystem::resize_file(folder.path() / "step-00000110.h5", 1000000);
    std::filesystem::copy_file(folder.path() / "step-00000090.h5", folder.path() / ".step-00000130.h5.tmp-host-1");
  }
  world.barrier();
  const Latest latest = find_latest(world, io, folder.path());
  ASSERT_TRUE(latest.file);
  EXPECT_EQ(latest.file->step, 100);
  ASSERT_EQ(latest.passed_over.size(), 2U);
  EXPECT_EQ(latest.passed_over[0].file.step, 120);
  EXPECT_NE(latest.passed_over[0].why.find("damaged"), std::string::npos) << latest.passed_over[0].why;
  EXPECT_EQ(latest.passed_over[1].file.step, 110);
}

TEST_F(CheckpointTest, OldOnesGoAndTheLastWholeOneStays) {
  Writers writers(world, io, {});
  const SampleMesh mesh = meshes(world.size()).front();
  for (const int step : {1, 2, 3, 4}) {
    CheckpointMeta about = meta;
    about.step = step;
    ASSERT_TRUE(save(mesh, writers, about).ok);
  }
  if (world.rank() != 0) return;
  const auto keep = [&](int count) {
    return io.run([&, count] { return keep_newest(folder.path(), count); }).get().size();
  };
  EXPECT_EQ(keep(0), 0U);
  EXPECT_EQ(keep(5), 0U);
  EXPECT_EQ(keep(3), 1U);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "step-00000001.h5"));
  for (const char* broken : {"step-00000003.h5", "step-00000004.h5"})
    std::filesystem::resize_file(folder.path() / broken, 5000);
  EXPECT_EQ(keep(1), 0U);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "step-00000002.h5"));
}

}  // namespace
}  // namespace penstock::checkpoint_test
