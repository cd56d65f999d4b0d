// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2
// Saves during training: the file contains the state at the moment of staging, and a failed save is tried again without
// harm to earlier files.

#include "run/saver.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "checkpoint/checkpoint_folder.hpp"
#include "checkpoint/sample_model.hpp"
#include "storage/run_guard.hpp"
#include "storage/shared_folder.hpp"

namespace penstock::saver_test {
namespace {

class SaverTest : public testing::Test {
 protected:
  Saver::Options options() {
    return {.folder = folder.path(), .clear_line = [] {}, .pause_seconds = 0.01};
  }

  Saver saver(Saver::Options with) { return {world, writers, specs, layouts, state.parameters(), std::move(with)}; }

  CheckpointMeta meta(std::int64_t step) const { return {.step = step, .samples = step, .seed = 1, .deck = ""}; }

  // Elements that differ from what `fill` sets.
  std::int64_t wrong_in(std::int64_t step) {
    SampleState read(specs, layouts[static_cast<std::size_t>(world.rank())]);
    load_checkpoint(world, io, folder.path() / checkpoint_name(step), specs, read.parameters().layout(), read.memory());
    return read.wrong();
  }

  void change_state() {
    for (const OwnedBox& owned : state.parameters().layout().owned()) state.memory()(State::parameters, owned)[0] = 99;
  }

  std::vector<std::int64_t> steps() {
    std::vector<std::int64_t> found;
    for (const CheckpointFile& file : checkpoint_files(folder.path())) found.push_back(file.step);
    return found;
  }

  World& world = test_world();
  SharedFolder folder{world};
  IoThread io;
  Writers writers{world, io, {}};
  SampleMesh mesh{.data = world.size()};
  std::vector<ParameterSpec> specs = sample_specs(mesh);
  std::vector<ParameterLayout> layouts = sample_layouts(mesh, specs);
  SampleState state{specs, layouts[static_cast<std::size_t>(world.rank())]};
  Queue queue;
};

TEST_F(SaverTest, TheFileHoldsWhatWasStagedWhateverTrainingDoes) {
  Saver save = saver(options());
  state.fill();
  save.save(queue, meta(3));
  change_state();
  world.barrier();  // the main threads communicate during the save
  EXPECT_EQ(save.tried_step(), 3);
  save.finish();
  EXPECT_EQ(save.saved_step(), 3);
  EXPECT_EQ(wrong_in(3), 0);
}

TEST_F(SaverTest, OneIsInFlightAtMostAndAllArrive) {
  Saver save = saver(options());
  state.fill();
  for (std::int64_t step = 1; step <= 6; ++step) {
    save.save(queue, meta(step));
    save.look();
    if (step > 1) {
      EXPECT_GE(save.saved_step(), step - 1) << "the one before has ended";
    }
  }
  save.finish();
  EXPECT_EQ(save.saved_step(), 6);
  EXPECT_EQ(steps().size(), 6U);
  world.barrier();
}

TEST_F(SaverTest, OldOnesGoWhenTheNewOneIsDurable) {
  Saver::Options with = options();
  with.keep = 2;
  Saver save = saver(with);
  state.fill();
  for (std::int64_t step = 1; step <= 4; ++step) save.save(queue, meta(step));
  save.finish();
  world.barrier();
  EXPECT_EQ(steps(), (std::vector<std::int64_t>{4, 3}));
  world.barrier();
}

TEST_F(SaverTest, InTheForegroundItReturnsWhenTheSaveHasEnded) {
  Saver::Options with = options();
  with.behind = false;
  Saver save = saver(with);
  state.fill();
  save.save(queue, meta(7));
  EXPECT_EQ(save.saved_step(), 7);
  change_state();
  EXPECT_EQ(wrong_in(7), 0);
}

TEST_F(SaverTest, AFailureIsTriedAgain) {
  int asked = 0;  // twice a try: before the file is begun, and before it gets its name
  Saver::Options with = options();
  with.keep = 1;
  with.ensure_mine = [&asked] {
    if (++asked == 2 || asked == 3) throw SystemError("not now");
  };
  Saver save = saver(with);
  state.fill();
  save.save(queue, meta(1));
  save.finish();
  EXPECT_EQ(save.saved_step(), 1);
  EXPECT_FALSE(save.lost_folder());
  EXPECT_EQ(wrong_in(1), 0);
}

TEST_F(SaverTest, WhatCannotBeSavedHarmsNothing) {
  bool mine = true;
  Saver::Options with = options();
  with.keep = 1;
  with.ensure_mine = [&mine] {
    if (!mine) throw FolderLost("another life's");
  };
  Saver save = saver(with);
  state.fill();
  save.save(queue, meta(1));
  save.finish();
  mine = false;
  change_state();
  save.save(queue, meta(2));
  save.finish();
  EXPECT_EQ(save.saved_step(), 1);
  EXPECT_EQ(save.tried_step(), 2);
  EXPECT_EQ(save.lost_folder(), true);
  EXPECT_EQ(steps(), std::vector<std::int64_t>{1});
  EXPECT_EQ(wrong_in(1), 0);
  mine = true;
  EXPECT_EQ(save.lost_folder(), false) << "a guard that is gone may come back";
}

TEST_F(SaverTest, AGuardThatCannotBeReadTakesNoFolderAway) {
  Saver::Options with = options();
  with.retries = 0;
  with.ensure_mine = [] { throw SystemError("guard: cannot be read: Too many open files"); };
  Saver save = saver(with);
  state.fill();
  save.save(queue, meta(1));
  save.finish();
  EXPECT_EQ(save.saved_step(), -1);
  EXPECT_FALSE(save.lost_folder());
  EXPECT_NE(save.why_not().find("Too many open files"), std::string::npos) << save.why_not();
}

TEST_F(SaverTest, NoFileGetsItsNameBeforeTheRows) {
  bool full = true;
  Saver::Options with = options();
  with.sync_rows = [&full] {
    if (full) throw SystemError("the rows could not be written");
  };
  Saver save = saver(with);
  state.fill();
  save.save(queue, meta(1));
  save.finish();
  EXPECT_EQ(save.saved_step(), -1);
  EXPECT_FALSE(save.lost_folder()) << "a full disk takes no folder away";
  EXPECT_TRUE(steps().empty());
  world.barrier();
  full = false;
  save.save(queue, meta(2));
  save.finish();
  EXPECT_EQ(save.saved_step(), 2);
}

TEST_F(SaverTest, AStateWithAWeightThatIsNotFiniteIsRefusedOnAllRanks) {
  Saver::Options with = options();
  with.keep = 1;
  Saver save = saver(with);
  state.fill();
  save.save(queue, meta(1));
  save.finish();
  const OwnedBox& last = state.parameters().layout().owned().back();
  if (world.rank() == world.size() - 1)
    state.memory()(State::parameters, last)[last.box.elements() - 1] = std::numeric_limits<float>::infinity();
  save.save(queue, meta(2));
  save.finish();
  EXPECT_EQ(save.saved_step(), 1);
  const std::string where = fmt::format("is inf on rank {}: ", world.size() - 1);
  EXPECT_NE(save.why_not().find(where), std::string::npos) << save.why_not();
  EXPECT_EQ(steps(), std::vector<std::int64_t>{1});
  with.whatever_the_state = true;
  Saver evidence = saver(with);
  evidence.save(queue, meta(3));
  evidence.finish();
  EXPECT_EQ(evidence.saved_step(), 3);
}

}  // namespace
}  // namespace penstock::saver_test
