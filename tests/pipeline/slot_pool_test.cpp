// SPDX-License-Identifier: Apache-2.0
#include "pipeline/slot_pool.hpp"

#include <gtest/gtest.h>

namespace penstock::slot_pool_test {
namespace {

TEST(SlotPool, HandsOutTheSlotThatWasFreedFirst) {
  SlotPool pool;
  for (const int slot : {0, 1, 2}) EXPECT_EQ(pool.take(), slot);
  pool.release(1);
  pool.release(0);
  for (const int slot : {1, 0, 3}) EXPECT_EQ(pool.take(), slot);
  EXPECT_EQ(pool.slots(), 4);
}

TEST(SlotPool, LetsASlotRestWhileAnotherIsUsed) {
  SlotPool pool(1);
  EXPECT_EQ(pool.take(), 0);
  pool.release(0);
  EXPECT_EQ(pool.take(), 1) << "slot 0 may still be on its way";
  pool.release(1);
  EXPECT_EQ(pool.take(), 0);
  pool.release(0);
  EXPECT_EQ(pool.take(), 1);
  EXPECT_EQ(pool.slots(), 2);
}

TEST(SlotPool, NoSlotRestsWhereThereAreNoMore) {
  SlotPool pool(1, 1);
  EXPECT_EQ(pool.take(), 0);
  EXPECT_THROW(pool.take(), LogicError);
  pool.release(0);
  EXPECT_EQ(pool.take(), 0) << "whoever takes it waits for what is sent from it";
}

TEST(SlotPool, RefusesWhatWasNotTaken) {
  SlotPool pool;
  EXPECT_THROW(pool.release(0), LogicError);
  pool.take();
  EXPECT_THROW(pool.release(-1), LogicError);
  pool.release(0);
  EXPECT_THROW(pool.release(0), LogicError) << "released twice";
}

}  // namespace
}  // namespace penstock::slot_pool_test
