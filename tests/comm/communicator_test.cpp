// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 4 8
#include "comm/communicator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/random.hpp"
#include "support/test_world.hpp"

namespace penstock::communicator_test {
namespace {

// Elements a rank; from fewer than there are ranks to enough for several threads and for MPI's rendezvous protocol.
const std::vector<std::int64_t> piece_sizes = {1, 3, 64, 1000, 70'001};

Mesh line() { return Mesh({{"data", test_world().size()}}); }
Queue& queue() {
  static Queue made;
  return made;
}

Communicator group_of_all() {
  test_world().set_deadline(20);  // all is done in milliseconds: a message that is lost need not be waited for longer
  return Communicator(test_world(), queue(), line(), {"data"});
}

/// Numbers of very different sizes, so that another order of adding gives other bits. The same on whoever asks.
template <typename T>
std::vector<T> numbers_of(int coordinate, std::int64_t n) {
  const std::uint64_t stream = mix_bits(static_cast<std::uint64_t>(coordinate));
  std::vector<T> values;
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(mix_bits(stream + static_cast<std::uint64_t>(i))) * 0x1p-63 - 1;  // in [-1, 1]
    if constexpr (std::is_same_v<T, double>)
      values.push_back(x * x * x);
    else
      values.push_back(static_cast<T>(static_cast<float>(x * x * x)));
  }
  return values;
}

template <typename T>
TensorView view(std::vector<T>& values) {
  return {values.data(), DTypeOf<T>::value, {static_cast<std::int64_t>(values.size())}};
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Element by element the sum of all ranks' numbers [begin, begin + n), added by a plain loop in the order given.
/// bfloat16 is added in float32, as the header says.
template <typename In, typename Out>
std::vector<Out> plain_sum(const std::vector<int>& order, std::int64_t total, std::int64_t begin, std::int64_t n) {
  using Sum = std::conditional_t<std::is_same_v<In, double>, double, float>;
  std::vector<Sum> sum;
  for (const int coordinate : order) {
    const std::vector<In> values = numbers_of<In>(coordinate, total);
    for (std::int64_t i = 0; i < n; ++i) {
      const Sum value = static_cast<Sum>(values[static_cast<std::size_t>(begin + i)]);
      if (coordinate == order.front())
        sum.push_back(value);
      else
        sum[static_cast<std::size_t>(i)] += value;
    }
  }
  std::vector<Out> out;
  for (const Sum value : sum) out.push_back(static_cast<Out>(value));
  return out;
}

std::vector<int> coordinates(int size) {
  std::vector<int> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

TEST(Communicator, TheExpectedSumsHangOnTheOrder) {
  const int size = test_world().size();
  if (size < 3) GTEST_SKIP() << "two numbers have one sum";
  std::vector<int> backwards = coordinates(size);
  std::reverse(backwards.begin(), backwards.end());
  EXPECT_FALSE(same_bits(plain_sum<float, float>(coordinates(size), 1000, 0, 1000),
                         plain_sum<float, float>(backwards, 1000, 0, 1000)));
  EXPECT_FALSE(same_bits(plain_sum<double, double>(coordinates(size), 1000, 0, 1000),
                         plain_sum<double, double>(backwards, 1000, 0, 1000)));
}

template <typename T>
class Typed : public testing::Test {};
using Types = testing::Types<float, bfloat16, double>;
TYPED_TEST_SUITE(Typed, Types);

TYPED_TEST(Typed, AllGatherIsInCoordinateOrder) {
  Communicator group = group_of_all();
  for (const std::int64_t n : piece_sizes) {
    std::vector<TypeParam> expected;
    for (int c = 0; c < group.size(); ++c) {
      const auto piece = numbers_of<TypeParam>(c, n);
      expected.insert(expected.end(), piece.begin(), piece.end());
    }
    std::vector<TypeParam> piece = numbers_of<TypeParam>(group.coordinate(), n), all(expected.size());
    group.wait(group.all_gather(view(piece), view(all)));
    EXPECT_TRUE(same_bits(all, expected)) << n << " elements";

    std::vector<TypeParam> in_place(expected.size());
    std::copy(piece.begin(), piece.end(), in_place.begin() + group.coordinate() * n);
    const TensorView whole = view(in_place);
    group.wait(group.all_gather(whole.range(group.coordinate() * n, n), whole));
    EXPECT_TRUE(same_bits(in_place, expected)) << n << " elements, in place";
  }
}

TYPED_TEST(Typed, ReduceScatterAddsInCoordinateOrder) {
  Communicator group = group_of_all();
  for (const std::int64_t n : piece_sizes) {
    const std::int64_t total = n * group.size(), begin = n * group.coordinate();
    const auto expected = plain_sum<TypeParam, TypeParam>(coordinates(group.size()), total, begin, n);
    const std::vector<TypeParam> given = numbers_of<TypeParam>(group.coordinate(), total);
    std::vector<TypeParam> all = given, piece(static_cast<std::size_t>(n));
    group.wait(group.reduce_scatter(view(all), view(piece)));
    EXPECT_TRUE(same_bits(piece, expected)) << n << " elements";
    EXPECT_TRUE(same_bits(all, given)) << "what was given is left as it was";

    const TensorView whole = view(all);
    group.wait(group.reduce_scatter(whole, whole.range(begin, n)));
    EXPECT_EQ(std::memcmp(all.data() + begin, expected.data(), expected.size() * sizeof(TypeParam)), 0)
        << n << " elements, in place";
  }
}

TYPED_TEST(Typed, AllReduceGivesEverybodyTheSumInCoordinateOrder) {
  Communicator group = group_of_all();
  // Sizes that the ranks cannot share evenly, and fewer elements than ranks.
  for (const std::int64_t n : {1, 2, 3, 5, 7, 8, 9, 64, 1001, 150'003}) {
    std::vector<TypeParam> tensor = numbers_of<TypeParam>(group.coordinate(), n);
    group.wait(group.all_reduce(view(tensor)));
    EXPECT_TRUE(same_bits(tensor, plain_sum<TypeParam, TypeParam>(coordinates(group.size()), n, 0, n)))
        << n << " elements";
  }
}

TYPED_TEST(Typed, CollectivesOfNothingEnd) {
  Communicator group = group_of_all();
  std::vector<TypeParam> none;
  group.wait(group.all_gather(view(none), view(none)));
  group.wait(group.reduce_scatter(view(none), view(none)));
  group.wait(group.all_reduce(view(none)));
  EXPECT_EQ(group.bytes_sent(), 0U);
}

TEST(Communicator, ReduceScatterFromBfloat16ToFloat32KeepsTheSum) {
  Communicator group = group_of_all();
  constexpr std::int64_t n = 777;
  const std::int64_t total = n * group.size();
  std::vector<bfloat16> all = numbers_of<bfloat16>(group.coordinate(), total);
  std::vector<float> piece(static_cast<std::size_t>(n));
  group.wait(group.reduce_scatter(view(all), view(piece)));
  EXPECT_TRUE(
      same_bits(piece, plain_sum<bfloat16, float>(coordinates(group.size()), total, n * group.coordinate(), n)));
}

TEST(Communicator, ReduceScatterFromFloat32ToBfloat16RoundsOnce) {
  Communicator group = group_of_all();
  constexpr std::int64_t n = 777;
  const std::int64_t total = n * group.size();
  std::vector<float> all = numbers_of<float>(group.coordinate(), total);
  std::vector<bfloat16> piece(static_cast<std::size_t>(n));
  group.wait(group.reduce_scatter(view(all), view(piece)));
  EXPECT_TRUE(
      same_bits(piece, plain_sum<float, bfloat16>(coordinates(group.size()), total, n * group.coordinate(), n)));
}

TEST(Communicator, WrongShapesAndTypesAreRefused) {
  Communicator group = group_of_all();
  std::vector<float> piece(4), all(static_cast<std::size_t>(4 * group.size() + 1));
  EXPECT_THROW(group.all_gather(view(piece), view(all)), LogicError);
  EXPECT_THROW(group.reduce_scatter(view(all), view(piece)), LogicError);
  std::vector<double> doubles(static_cast<std::size_t>(4 * group.size()));
  EXPECT_THROW(group.all_gather(view(piece), view(doubles)), LogicError);
}

TEST(Communicator, MessagesOfOneTagArriveInTheOrderTheyWereSent) {
  Communicator group = group_of_all();
  const int next = (group.coordinate() + 1) % group.size(),
            before = (group.coordinate() + group.size() - 1) % group.size();
  constexpr int messages = 20;
  std::vector<std::vector<float>> out, in;
  std::vector<Event> events;
  for (int m = 0; m < messages; ++m) {
    // Short and long ones by turns: MPI moves them by different protocols, which must not overtake each other.
    const std::size_t length = m % 2 == 0 ? 10 : 100'000;
    out.emplace_back(length, static_cast<float>(100 * group.coordinate() + m));
    in.emplace_back(length, -1.0F);
  }
  for (int m = 0; m < messages; ++m) events.push_back(group.send(view(out[static_cast<std::size_t>(m)]), next, 3));
  for (int m = 0; m < messages; ++m) events.push_back(group.receive(view(in[static_cast<std::size_t>(m)]), before, 3));
  for (const Event event : events) group.wait(event);
  for (int m = 0; m < messages; ++m)
    EXPECT_EQ(in[static_cast<std::size_t>(m)],
              std::vector<float>(in[static_cast<std::size_t>(m)].size(), static_cast<float>(100 * before + m)));
}

TEST(Communicator, TagsKeepMessagesApart) {
  Communicator group = group_of_all();
  const int next = (group.coordinate() + 1) % group.size(),
            before = (group.coordinate() + group.size() - 1) % group.size();
  constexpr int tags = 5;
  std::vector<std::vector<std::int32_t>> out, in(tags, std::vector<std::int32_t>(8, -1));
  for (int tag = 0; tag < tags; ++tag) out.emplace_back(8, 10 * group.coordinate() + tag);
  std::vector<Event> events;
  for (int tag = 0; tag < tags; ++tag)
    events.push_back(group.send(view(out[static_cast<std::size_t>(tag)]), next, tag));
  for (int tag = tags - 1; tag >= 0; --tag) {  // received the other way round
    const Event arrived = group.receive(view(in[static_cast<std::size_t>(tag)]), before, tag);
    group.wait(arrived);
    EXPECT_EQ(in[static_cast<std::size_t>(tag)], std::vector<std::int32_t>(8, 10 * before + tag));
  }
  for (const Event event : events) group.wait(event);
}

TEST(Communicator, ATransferInFlightDoesNotMixWithCollectives) {
  Communicator group = group_of_all();
  const int next = (group.coordinate() + 1) % group.size(),
            before = (group.coordinate() + group.size() - 1) % group.size();
  for (int tag = 0; tag < 3; ++tag) {
    std::vector<float> out(50, static_cast<float>(group.coordinate())), in(50, -1.0F);
    const Event sent = group.send(view(out), next, tag);
    std::vector<float> piece(50, 1000.0F + static_cast<float>(group.coordinate())),
        all(50 * static_cast<std::size_t>(group.size()));
    group.wait(group.all_gather(view(piece), view(all)));
    const Event arrived = group.receive(view(in), before, tag);
    std::vector<float> sum(50 * static_cast<std::size_t>(group.size()), 1.0F);
    group.wait(group.all_reduce(view(sum)));
    group.wait(sent);
    group.wait(arrived);
    EXPECT_EQ(in, std::vector<float>(50, static_cast<float>(before)));
    EXPECT_EQ(sum, std::vector<float>(sum.size(), static_cast<float>(group.size())));
    for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], 1000.0F + static_cast<float>(i / 50));
  }
}

TEST(Communicator, AnEventIsDoneOnceItWasWaitedFor) {
  Communicator group = group_of_all();
  std::vector<float> out(3, 1.0F), in(3, 0.0F);
  const Event arrived = group.receive(view(in), group.coordinate(), 1),
              sent = group.send(view(out), group.coordinate(), 1);
  group.wait(sent);
  group.wait(arrived);
  EXPECT_EQ(in, out) << "a rank may send to itself";
  group.wait(arrived);
  group.wait(Event{});
}

// The mesh of eight ranks that the design's examples use, and what is left of it with fewer ranks.
Mesh cube() {
  const int size = test_world().size();
  return Mesh({{"pipeline", size >= 4 ? 2 : 1}, {"data", size >= 8 ? 2 : 1}, {"tensor", size >= 2 ? 2 : 1}});
}

TEST(Communicator, AGroupSpansItsAxes) {
  World& world = test_world();
  const Mesh mesh = cube();
  ASSERT_EQ(mesh.size(), world.size());
  const std::vector<AxisSet> sets = {{},
                                     {"pipeline"},
                                     {"data"},
                                     {"tensor"},
                                     {"data", "tensor"},
                                     {"pipeline", "data"},
                                     {"pipeline", "tensor"},
                                     {"pipeline", "data", "tensor"},
                                     {"context"}};
  for (const AxisSet& axes : sets) {
    Communicator group(world, queue(), mesh, axes);
    const std::vector<int> ranks = mesh.group(world.rank(), axes);
    ASSERT_EQ(group.size(), static_cast<int>(ranks.size()));
    EXPECT_EQ(ranks[static_cast<std::size_t>(group.coordinate())], world.rank());
    std::vector<std::int32_t> mine = {world.rank()}, all(ranks.size());
    group.wait(group.all_gather(view(mine), view(all)));
    EXPECT_EQ(all, std::vector<std::int32_t>(ranks.begin(), ranks.end()));
    std::vector<float> sum = {static_cast<float>(world.rank())};
    group.wait(group.all_reduce(view(sum)));
    EXPECT_EQ(sum.front(), static_cast<float>(std::accumulate(ranks.begin(), ranks.end(), 0)));
  }
}

TEST(Communicator, TheOrderOfTheAxesNamedDoesNotMatter) {
  World& world = test_world();
  const Mesh mesh = cube();
  const Communicator one(world, queue(), mesh, {"pipeline", "tensor"}),
      other(world, queue(), mesh, {"tensor", "pipeline"});
  EXPECT_EQ(one.size(), other.size());
  EXPECT_EQ(one.coordinate(), other.coordinate());
}

TEST(Communicator, GroupsDoNotHearEachOther) {
  World& world = test_world();
  Communicator one = group_of_all(), other = group_of_all();
  const int next = (one.coordinate() + 1) % one.size(), before = (one.coordinate() + one.size() - 1) % one.size();
  std::vector<float> first(4, 1.0F), second(4, 2.0F), from_one(4), from_other(4);
  const Event a = one.send(view(first), next, 0), b = other.send(view(second), next, 0);
  const Event d = other.receive(view(from_other), before, 0), c = one.receive(view(from_one), before, 0);
  for (const Event event : {a, c}) one.wait(event);
  for (const Event event : {b, d}) other.wait(event);
  EXPECT_EQ(from_one, first);
  EXPECT_EQ(from_other, second);
  world.barrier();
}

TEST(Communicator, CountsTheBytesItSends) {
  Communicator group = group_of_all();
  const auto others = static_cast<std::uint64_t>(group.size() - 1), size = static_cast<std::uint64_t>(group.size());
  std::vector<float> piece(100), all(100 * size);
  group.wait(group.all_gather(view(piece), view(all)));
  EXPECT_EQ(group.bytes_sent(), others * 400);
  group.wait(group.reduce_scatter(view(all), view(piece)));
  EXPECT_EQ(group.bytes_sent(), others * 800);
  group.wait(
      group.all_reduce(view(all)));  // every element but the own slice goes out twice: once to be added, once added
  EXPECT_EQ(group.bytes_sent(), others * 1600);
}

TEST(Communicator, ScratchOfOneRankIsNothing) {
  EXPECT_EQ(Communicator::scratch_bytes(1 << 20, 1), 0U);
  EXPECT_GE(Communicator::scratch_bytes(1 << 20, 4), std::size_t{1} << 20);
}

TEST(Communicator, MovesAndStaysUsable) {
  Communicator group = group_of_all();
  Communicator moved = std::move(group);
  std::vector<float> one = {1.0F};
  moved.wait(moved.all_reduce(view(one)));
  EXPECT_EQ(one.front(), static_cast<float>(moved.size()));
  moved = group_of_all();
  moved.wait(moved.all_reduce(view(one)));
  EXPECT_EQ(one.front(), static_cast<float>(moved.size() * moved.size()));
}

}  // namespace
}  // namespace penstock::communicator_test
