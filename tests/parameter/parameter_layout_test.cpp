// SPDX-License-Identifier: Apache-2.0
#include "parameter/parameter_layout.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "parameter/random_model.hpp"

namespace penstock::parameter_layout_test {
namespace {

using test::RandomMesh;
using test::RandomModels;

constexpr std::int64_t line = 32;  // float32 elements in 128 bytes
constexpr int models = 300;

/// Counts, for every element of every parameter, how often it was seen.
class Coverage {
 public:
  explicit Coverage(const std::vector<ParameterSpec>& specs) : specs_(specs) {
    for (const ParameterSpec& spec : specs) seen_.emplace_back(static_cast<std::size_t>(spec.shape.elements()), 0);
  }

  void add(std::size_t parameter, const Box& box) {
    const Shape& shape = specs_[parameter].shape;
    const bool matrix = shape.dimensions() == 2;
    ASSERT_EQ(box.extent.dimensions(), shape.dimensions());
    for (int d = 0; d < shape.dimensions(); ++d) {
      ASSERT_GE(box.offset[static_cast<std::size_t>(d)], 0);
      ASSERT_LE(box.offset[static_cast<std::size_t>(d)] + box.extent[d], shape[d])
          << "padding is nobody's global element";
    }
    for (std::int64_t r = 0; r < box.extent[0]; ++r)
      for (std::int64_t c = 0; c < (matrix ? box.extent[1] : 1); ++c)
        ++seen_[parameter][static_cast<std::size_t>(matrix ? (box.offset[0] + r) * shape[1] + box.offset[1] + c
                                                           : box.offset[0] + r)];
  }

  void expect_each_element_seen(int times) const {
    for (std::size_t p = 0; p < specs_.size(); ++p)
      for (std::size_t i = 0; i < seen_[p].size(); ++i)
        ASSERT_EQ(seen_[p][i], times) << specs_[p].name << " " << specs_[p].shape.text() << " element " << i;
  }

 private:
  const std::vector<ParameterSpec>& specs_;
  std::vector<std::vector<int>> seen_;
};

template <typename Visit>
void for_each_rank(const RandomMesh& mesh, const Visit& visit) {
  for (int d = 0; d < mesh.data; ++d)
    for (int p = 0; p < mesh.pipeline; ++p)
      for (int t = 0; t < mesh.tensor; ++t) visit(mesh.place(d, p, t));
}

template <typename Check>
void on_random_models(const Check& check) {
  for (std::uint32_t seed = 0; seed < models; ++seed) {
    RandomModels random(seed);
    const RandomMesh mesh = random.mesh();
    const std::vector<ParameterSpec> specs = random.specs(mesh);
    SCOPED_TRACE(fmt::format("model {}: {}", seed, mesh.text()));
    check(specs, mesh);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(ParameterLayout, CountedBoxesCoverEveryElementOnceAndNoPadding) {
  on_random_models([](const std::vector<ParameterSpec>& specs, const RandomMesh& mesh) {
    Coverage coverage(specs);
    for_each_rank(mesh, [&](const ParameterPlace& place) {
      const ParameterLayout layout(specs, place);
      for (const OwnedBox& owned : layout.owned())
        if (owned.counted) coverage.add(owned.parameter, owned.box);
    });
    coverage.expect_each_element_seen(1);
  });
}

TEST(ParameterLayout, TheDataRanksOfOnePlaceOwnAllThatTheyHold) {
  on_random_models([](const std::vector<ParameterSpec>& specs, const RandomMesh& mesh) {
    for (int p = 0; p < mesh.pipeline; ++p)
      for (int t = 0; t < mesh.tensor; ++t) {
        std::int64_t elements_held = 0, elements_owned = 0;
        for (int d = 0; d < mesh.data; ++d) {
          const ParameterLayout layout(specs, mesh.place(d, p, t));
          elements_held = layout.parameters_held();
          for (const OwnedBox& owned : layout.owned()) elements_owned += owned.box.elements();
        }
        ASSERT_EQ(elements_owned, mesh.shard ? elements_held : elements_held * mesh.data);
      }
  });
}

TEST(ParameterLayout, AHeldBoxIsAtMostThreeOwnedOnes) {
  on_random_models([](const std::vector<ParameterSpec>& specs, const RandomMesh& mesh) {
    for_each_rank(mesh, [&](const ParameterPlace& place) {
      const ParameterLayout layout(specs, place);
      std::map<std::size_t, std::size_t> boxes;
      std::size_t last = 0;
      for (const OwnedBox& owned : layout.owned()) {
        ++boxes[owned.parameter];
        ASSERT_GE(owned.parameter, last) << "in order of parameters";
        last = owned.parameter;
      }
      for (const auto& [parameter, count] : boxes)
        ASSERT_LE(count, 3 * local_boxes(specs[parameter], place.mesh).size()) << specs[parameter].name;
    });
  });
}

TEST(ParameterLayout, AFullBucketTakesNoMore) {
  on_random_models([](const std::vector<ParameterSpec>& specs, const RandomMesh& mesh) {
    constexpr std::int64_t full = 500;
    for_each_rank(mesh, [&](const ParameterPlace& place) {
      const ParameterLayout cut(specs, place, full), whole(specs, place);
      ASSERT_EQ(cut.parameters_held(), whole.parameters_held());
      std::vector<std::size_t> held;
      for (const Bucket& bucket : cut.buckets()) {
        ASSERT_LT(bucket.entries.back().begin, full) << "all but the last one had room";
        for (const BucketEntry& entry : bucket.entries) held.push_back(entry.parameter);
      }
      std::sort(held.begin(), held.end());
      ASSERT_EQ(std::adjacent_find(held.begin(), held.end()), held.end()) << "a parameter is in one bucket";
      for (const std::size_t parameter : held) ASSERT_TRUE(whole.holds(parameter));
    });
  });
}

TEST(ParameterLayout, OwnRangesAreEqualWholeLinesThatTileTheBucket) {
  on_random_models([](const std::vector<ParameterSpec>& specs, const RandomMesh& mesh) {
    for_each_rank(mesh, [&](const ParameterPlace& place) {
      const ParameterLayout layout(specs, place);
      for (const Bucket& bucket : layout.buckets()) {
        const std::int64_t own = bucket.own_end - bucket.own_begin;
        ASSERT_EQ(own % line, 0);
        ASSERT_EQ(bucket.own_begin % line, 0);
        ASSERT_EQ(own, mesh.shard ? bucket.elements / mesh.data : bucket.elements);
        ASSERT_EQ(bucket.own_begin, mesh.shard ? own * place.mesh.at(Axis::data) : 0);
        ASSERT_EQ(bucket.elements % (line * mesh.data), 0);
        std::int64_t end = 0;
        for (const BucketEntry& entry : bucket.entries) {
          ASSERT_EQ(entry.begin % line, 0);
          ASSERT_GE(entry.begin, end) << "entries overlap";
          ASSERT_EQ(entry.elements, local_shape(specs[entry.parameter]).elements());
          end = entry.begin + entry.elements;
        }
        ASSERT_LE(end, bucket.elements);
      }
    });
  });
}

TEST(ParameterLayout, OwnedBoxesLieSideBySideInTheOwnRange) {
  on_random_models([](const std::vector<ParameterSpec>& specs, const RandomMesh& mesh) {
    for_each_rank(mesh, [&](const ParameterPlace& place) {
      const ParameterLayout layout(specs, place);
      std::vector<std::map<std::int64_t, std::int64_t>> ends(layout.buckets().size());  // by begin
      for (const OwnedBox& owned : layout.owned()) {
        const bool fresh =
            ends[owned.bucket].emplace(owned.box.local_begin, owned.box.local_begin + owned.box.elements()).second;
        ASSERT_TRUE(fresh) << "two boxes begin at one place";
      }
      for (std::size_t b = 0; b < ends.size(); ++b) {
        std::int64_t last = 0;
        for (const auto& [begin, end] : ends[b]) {
          ASSERT_GE(begin, last) << "boxes overlap in memory";
          last = end;
        }
        ASSERT_LE(last, layout.buckets()[b].own_end - layout.buckets()[b].own_begin);
      }
    });
  });
}

TEST(ParameterLayout, ABucketHoldsOneKindOfParameter) {
  on_random_models([](const std::vector<ParameterSpec>& specs, const RandomMesh& mesh) {
    for_each_rank(mesh, [&](const ParameterPlace& place) {
      const ParameterLayout layout(specs, place);
      std::size_t held = 0;
      for (const Bucket& bucket : layout.buckets())
        for (const BucketEntry& entry : bucket.entries) {
          const ParameterSpec& spec = specs[entry.parameter];
          ASSERT_EQ(spec.type, bucket.type);
          ASSERT_EQ(spec.sums, bucket.sums);
          ASSERT_EQ(spec.stages.size() > 1, bucket.tied);
          ASSERT_TRUE(layout.holds(entry.parameter));
          ++held;
        }
      std::size_t expected = 0;
      for (const ParameterSpec& spec : specs) {
        bool here = false;
        for (const int stage : spec.stages) here = here || stage % mesh.pipeline == place.stages.front();
        expected += here;
      }
      ASSERT_EQ(held, expected);
    });
  });
}

// The ends of a tied parameter add their gradients piece by piece: their buckets must be cut alike.
TEST(ParameterLayout, RanksAtBothEndsOfATieCutItAlike) {
  const std::vector<ParameterSpec> specs = {
      {.name = "embedding", .shape = {100, 8}, .split = {.parts = 2, .padded_extent = 128}, .stages = {0, 3}},
      {.name = "first", .shape = {8, 8}, .stages = {0}},
      {.name = "last", .shape = {13}, .stages = {3}}};
  const auto tied_bucket = [](const ParameterLayout& layout) {
    for (const Bucket& bucket : layout.buckets())
      if (bucket.tied) return bucket;
    throw LogicError("no tied bucket");
  };
  for (int data = 0; data < 3; ++data) {
    const ParameterPlace first{.stages = {0, 1}, .mesh = {Mesh({{"data", 3}, {"tensor", 2}}), 2 * data + 1}};
    ParameterPlace last = first;
    last.stages = {2, 3};
    const Bucket a = tied_bucket(ParameterLayout(specs, first)), b = tied_bucket(ParameterLayout(specs, last));
    EXPECT_EQ(a.elements, b.elements);
    EXPECT_EQ(a.own_begin, b.own_begin);
    EXPECT_EQ(a.entries.front().begin, b.entries.front().begin);
    EXPECT_EQ(a.uses, 1);
    EXPECT_EQ(b.uses, 1);
  }
  const ParameterLayout both(specs, {.stages = {0, 3}});
  EXPECT_EQ(tied_bucket(both).uses, 2);
}

TEST(ParameterLayout, RefusesSumsOfUnlikeParts) {
  const MeshPlace place(Mesh({{"data", 2}, {"expert", 2}, {"tensor", 2}}), 0);
  const auto layout = [&](const Stack& stack, const Split& split, const GradientSums& sums) {
    const std::vector<ParameterSpec> specs = {
        {.name = "weight", .shape = {8, 8}, .stack = stack, .split = split, .sums = sums, .stages = {0}}};
    return ParameterLayout(specs, {.stages = {0}, .mesh = place});
  };
  const Stack experts{.arrays = 4, .parts = 2, .axis = "expert"};
  const Split rows{.parts = 2};
  EXPECT_NO_THROW(layout(experts, rows, {}));
  EXPECT_THROW(layout({}, rows, {.inside = {"tensor"}}), LogicError);
  EXPECT_THROW(layout(experts, {}, {.across = {"data", "expert"}}), LogicError);
  EXPECT_THROW(layout({}, {.parts = 2, .sections = {{4}, {4, 1}}, .axis = "expert"}, {}), LogicError)
      << "nobody would sum the gradients of the copies";
}

TEST(ParameterLayout, OneOfSeveralCopiesIsCounted) {
  const std::vector<ParameterSpec> specs = {{.name = "norm", .shape = {64}, .stages = {0, 1}}};
  const auto counted = [&](const ParameterPlace& place) {
    const ParameterLayout layout(specs, place);
    return !layout.owned().empty() && layout.owned().front().counted;
  };
  EXPECT_TRUE(counted({.stages = {0}}));
  EXPECT_FALSE(counted({.stages = {1}})) << "the first stage of a tie is";
  EXPECT_TRUE(counted({.stages = {0, 1}}));
  EXPECT_FALSE(counted({.stages = {0}, .mesh = {Mesh({{"tensor", 2}}), 1}}));
  EXPECT_FALSE(counted({.stages = {0}, .mesh = {Mesh({{"data", 2}}), 1}, .shard = false}));
  EXPECT_TRUE(counted({.stages = {0}, .mesh = {Mesh({{"data", 2}}), 1}, .shard = true}));
  EXPECT_FALSE(counted({.stages = {0}, .mesh = {Mesh({{"an axis of its own", 2}}), 1}})) << "it has a copy, too";
}

}  // namespace
}  // namespace penstock::parameter_layout_test
