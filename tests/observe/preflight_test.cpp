// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 4
// Measurements during training take no memory of their own, and do not change the training's data.

#include "observe/preflight.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "pipeline/tiny_model.hpp"
#include "pipeline/transfer_times.hpp"
#include "support/test_world.hpp"

namespace penstock::preflight_test {
namespace {

using test::TinyRank;
using test::TinySetup;

std::vector<TinySetup> layouts() {
  std::vector<TinySetup> all{{}};
  for (const int ranks : {2, 4})
    for (const Recompute recompute : {Recompute::none, Recompute::block}) {
      all.push_back({.data = ranks, .recompute = recompute});
      all.push_back({.pipeline = ranks, .recompute = recompute});
      all.push_back({.tensor = ranks, .recompute = recompute});
      all.push_back({.tensor = ranks, .sequence_parallel = false, .recompute = recompute});
      all.push_back(
          {.pipeline = ranks, .compute = DType::bfloat16, .backward = Backward::fused, .recompute = recompute});
    }
  std::erase_if(all, [](const TinySetup& setup) { return setup.ranks() != test_world().size(); });
  return all;
}

void measure(TinyRank& rank, const TinySetup& setup, TensorView idle) {
  const Mesh mesh = test::tiny_mesh(setup);
  Communicators communicators(test_world(), rank.queue(), mesh);
  LinkProbe links(test_world(), rank.queue(), communicators, mesh, idle);
  preflight(test_world(), rank.queue(), rank.plan(), idle, links);
  measure_transfers(communicators, rank.queue(), rank.model(), 1e-4);
}

TEST(Preflight, WritesInIdleMemoryAlone) {
  for (const TinySetup& setup : layouts()) {
    TinyRank rank(test_world(), setup);
    const TensorView idle = rank.model().idle();
    const ModelShape& shape = rank.model().shape();
    EXPECT_GE(idle.bytes(), 3 * static_cast<std::size_t>(shape.rows() * shape.width()) * bytes_of(shape.cut.compute))
        << setup.text();
    const auto everywhere = -test_world().largest(-idle.elements());
    const std::vector<std::byte> before(rank.memory().begin(), rank.memory().end());
    measure(rank, setup, idle.range(0, everywhere));
    const auto begin = static_cast<const std::byte*>(idle.raw()) - rank.memory().data();
    const auto end = begin + idle.elements();
    const auto size = static_cast<std::ptrdiff_t>(before.size());
    for (const auto& [from, to] : {std::pair(std::ptrdiff_t{0}, begin), std::pair(end, size)})
      EXPECT_TRUE(std::equal(before.begin() + from, before.begin() + to, rank.memory().begin() + from))
          << "bytes " << from << " to " << to << " of " << size << ", " << setup.text();
  }
}

TEST(Preflight, BetweenStepsChangesNoLoss) {
  for (const TinySetup& setup : layouts()) {
    TinyRank plain(test_world(), setup), measured(test_world(), setup);
    const auto everywhere = -test_world().largest(-measured.model().idle().elements());
    for (int update = 1; update <= 3; ++update) {
      measure(measured, setup, measured.model().idle().range(0, everywhere));
      const test::TinyBatch batch(4, static_cast<std::uint64_t>(100 * update));
      EXPECT_EQ(measured.train(batch, update).loss, plain.train(batch, update).loss) << setup.text();
    }
  }
}

// The smallest piece of memory is enough for a product: of fewer rows and outputs.
TEST(Preflight, FitsIntoTheMemoryThatIsLent) {
  const TinySetup setup{.data = test_world().size()};
  TinyRank rank(test_world(), setup);
  constexpr std::int64_t three_lines = 3 * 256;
  measure(rank, setup, rank.model().idle().range(0, three_lines));
}

}  // namespace
}  // namespace penstock::preflight_test
