// SPDX-License-Identifier: Apache-2.0
#include "schedule/generate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.hpp"
#include "schedule/prerequisites.hpp"
#include "schedule/tables.hpp"
#include "schedule/validate.hpp"

namespace penstock::generate_test {
namespace {

std::string message(std::string_view name) {
  try {
    parse_schedule_name(name);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

Schedule make(ScheduleName name, int pipeline, int microbatches, Backward backward) {
  return generate({.name = name, .pipeline = pipeline, .microbatches = microbatches, .backward = backward});
}

TEST(Generate, OneForwardOneBackward) {
  const Schedule s = make(ScheduleName::one_forward_one_backward, 3, 4, Backward::split);
  EXPECT_EQ(text(s),
            "rank 0: 0F0 0F1 0F2 0B0 0F3 0B1 0B2 0B3\n"
            "rank 1: 1F0 1F1 1I0 1W0 1F2 1I1 1W1 1F3 1I2 1W2 1I3 1W3\n"
            "rank 2: 2F0 2I0 2W0 2F1 2I1 2W1 2F2 2I2 2W2 2F3 2I3 2W3\n");
  EXPECT_EQ(s.name, "1f1b");
  EXPECT_FALSE(s.lowered);
}

TEST(Generate, FewerMicrobatchesThanRanks) {
  EXPECT_EQ(text(make(ScheduleName::one_forward_one_backward, 4, 2, Backward::fused)),
            "rank 0: 0F0 0F1 0B0 0B1\nrank 1: 1F0 1F1 1B0 1B1\nrank 2: 2F0 2F1 2B0 2B1\nrank 3: 3F0 3B0 3F1 3B1\n");
}

TEST(Generate, FifoTakesBackwardsInTheOrderOfForwards) {
  EXPECT_EQ(text(make(ScheduleName::fifo, 2, 3, Backward::fused)),
            "rank 0: 0F0 0F1 0F2 0B0 0B1 0B2\nrank 1: 1F0 1F1 1F2 1B0 1B1 1B2\n");
}

TEST(Generate, OneRankIsFused) {
  EXPECT_EQ(text(make(ScheduleName::one_forward_one_backward, 1, 2, Backward::split)), "rank 0: 0F0 0B0 0F1 0B1\n");
}

TEST(Generate, RingTakesAGroupOfMicrobatchesAChunk) {
  EXPECT_EQ(
      text(generate(
          {.name = ScheduleName::ring, .pipeline = 2, .microbatches = 2, .chunks = 2, .backward = Backward::fused})),
      "rank 0: 0F0 0F1 2F0 2F1 2B0 2B1 0B0 0B1\n"
      "rank 1: 1F0 1F1 3F0 3B0 3F1 3B1 1B0 1B1\n");
  EXPECT_EQ(generate({.name = ScheduleName::ring, .pipeline = 3, .microbatches = 5}).rows,
            make(ScheduleName::one_forward_one_backward, 3, 5, Backward::split).rows)
      << "with one chunk it is 1F1B";
}

TEST(Generate, BreadthFirstIsTheTableWrittenByHand) {
  for (const int pipeline : {2, 3})
    for (const int chunks : {2, 3})
      EXPECT_EQ(generate({.name = ScheduleName::breadth_first,
                          .pipeline = pipeline,
                          .microbatches = 4,
                          .chunks = chunks,
                          .backward = Backward::fused})
                    .rows,
                test::looped_table(pipeline, chunks, 4, true).rows);
}

TEST(Generate, ZeroBubbleMovesWeightGradients) {
  EXPECT_EQ(text(make(ScheduleName::zb_h1, 3, 4, Backward::split)),
            "rank 0: 0F0 0F1 0F2 0B0 0F3 0B1 0B2 0B3\n"
            "rank 1: 1F0 1F1 1I0 1F2 1I1 1W0 1F3 1I2 1W1 1I3 1W2 1W3\n"
            "rank 2: 2F0 2I0 2F1 2I1 2F2 2I2 2W0 2F3 2I3 2W1 2W2 2W3\n");
  EXPECT_EQ(text(make(ScheduleName::zb_h2, 2, 4, Backward::split)),
            "rank 0: 0F0 0F1 0F2 0B0 0F3 0B1 0B2 0B3\n"
            "rank 1: 1F0 1I0 1F1 1I1 1F2 1I2 1W0 1F3 1I3 1W1 1W2 1W3\n");
}

TEST(Generate, ZeroBubbleVGoesThereAndBack) {
  const Schedule s = make(ScheduleName::zb_v, 2, 3, Backward::split);
  EXPECT_EQ(s.placement, (std::vector<int>{0, 1, 1, 0}));
  EXPECT_EQ(text(s),
            "rank 0: 0F0 0F1 0F2 3F0 3I0 3W0 3F1 3I1 3W1 0B0 3F2 3I2 3W2 0B1 0B2\n"
            "rank 1: 1F0 2F0 1F1 2F1 2I0 2W0 1F2 1I0 1W0 2F2 2I1 2W1 1I1 2I2 1I2 1W1 2W2 1W2\n");
}

TEST(Generate, EveryTableIsValid) {
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 5, 8}, 18)) {
    const auto problem = find_problem(generate(request));
    EXPECT_FALSE(problem) << test::title(request) << problem->message;
  }
}

TEST(Generate, EachStageTakesItsMicrobatchesInAscendingOrder) {
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 8}, 17))
    for (const std::vector<Action>& row : generate(request).rows) {
      std::map<std::pair<Work, int>, int> next;
      for (const Action& action : row)
        for (const Action& part : parts_of(action))
          EXPECT_EQ(next[std::pair(part.work, part.stage)]++, part.microbatch) << test::title(request);
    }
}

/// Of a rank's stages together, from F to the end of I.
int expected_peak(const ScheduleRequest& r, int rank) {
  const int behind = r.pipeline - 1 - rank;
  switch (r.name) {
    case ScheduleName::fifo:
    case ScheduleName::breadth_first:
      return r.microbatches * r.chunks;
    case ScheduleName::zb_h2:
      return std::min(2 * behind + 1, r.microbatches);
    default:
      return std::min(behind + 1, r.microbatches);
  }
}

TEST(Generate, PeakOfActivations) {
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 8}, 16)) {
    const std::vector<int> peaks = generate(request).peak_activations();
    for (int rank = 0; rank < request.pipeline; ++rank) {
      const int peak = peaks[static_cast<std::size_t>(rank)];
      const std::string where = test::title(request) + " rank " + std::to_string(rank);
      const bool chunked_ring = request.name == ScheduleName::ring && request.chunks > 1;
      if (request.name == ScheduleName::zb_v) {
        EXPECT_LE(peak, std::min(2 * request.pipeline, 2 * request.microbatches)) << where;
      } else if (!chunked_ring) {
        EXPECT_EQ(peak, expected_peak(request, rank)) << where;
      } else if (request.microbatches % request.pipeline == 0) {
        EXPECT_EQ(peak, std::min(2 * (request.pipeline - 1 - rank) + (request.chunks - 1) * request.pipeline + 1,
                                 request.microbatches * request.chunks))
            << where;
      }
    }
  }
}

TEST(Generate, ZeroBubbleHoldsWhatOneForwardOneBackwardHoldsOnRankZero) {
  // From F to the end of W.
  const auto held = [](const std::vector<Action>& row) {
    int now = 0;
    int most = 0;
    for (const Action& action : row) {
      now += action.work == Work::forward;
      most = std::max(most, now);
      now -= action.work == Work::weight_gradient || action.work == Work::backward;
    }
    return most;
  };
  for (const int p : {2, 3, 4, 8})
    for (int m = 1; m <= 20; ++m)
      for (int rank = 0; rank < p; ++rank) {
        EXPECT_LE(held(make(ScheduleName::zb_h1, p, m, Backward::split).row(rank)), std::min(p, m));
        EXPECT_LE(held(make(ScheduleName::zb_h2, p, m, Backward::split).row(rank)), std::min(2 * p - 1, m));
        EXPECT_LE(held(make(ScheduleName::zb_v, p, m, Backward::split).row(rank)), 2 * std::min(p, m))
            << "stages half as large";
      }
}

TEST(Generate, RefusesSizes) {
  EXPECT_THROW(make(ScheduleName::fifo, 0, 4, Backward::split), InputError);
  EXPECT_THROW(make(ScheduleName::fifo, 2, 0, Backward::split), InputError);
  const auto chunked = [](ScheduleName name, int chunks) {
    return generate({.name = name, .pipeline = 2, .microbatches = 2, .chunks = chunks});
  };
  for (const ScheduleName name :
       {ScheduleName::fifo, ScheduleName::one_forward_one_backward, ScheduleName::zb_h1, ScheduleName::zb_h2}) {
    EXPECT_THROW(chunked(name, 2), InputError);
    EXPECT_THROW(chunked(name, -1), InputError);
    EXPECT_EQ(chunked(name, 0).chunks(), 1) << "as the schedule wants it";
  }
  EXPECT_THROW(chunked(ScheduleName::ring, -1), InputError);
  EXPECT_THROW(chunked(ScheduleName::zb_v, 1), InputError);
  EXPECT_THROW(chunked(ScheduleName::zb_v, 3), InputError);
  EXPECT_EQ(chunked(ScheduleName::zb_v, 0).chunks(), 2);
  EXPECT_THROW(chunked(ScheduleName::ring, 1 << 30), InputError) << "beyond what is planned";
  EXPECT_THROW(make(ScheduleName::ring, 1 << 30, 1 << 30, Backward::split), InputError);
}

TEST(Generate, ZeroBubbleNeedsASplitBackward) {
  for (const ScheduleName name : {ScheduleName::zb_h1, ScheduleName::zb_h2, ScheduleName::zb_v})
    EXPECT_THROW(make(name, 2, 4, Backward::fused), InputError);
}

TEST(Generate, NamesReadBack) {
  EXPECT_EQ(schedule_names(),
            (std::vector<std::string>{"fifo", "1f1b", "ring", "breadth-first", "zb-h1", "zb-h2", "zb-v"}));
  for (const std::string& name : schedule_names()) EXPECT_EQ(text(parse_schedule_name(name)), name);
  for (const Backward backward : {Backward::split, Backward::fused})
    EXPECT_EQ(parse_backward(text(backward)), backward);
  EXPECT_THROW(parse_backward("merged"), InputError);
}

TEST(Generate, UnknownNamesAreAnsweredWithTheNearest) {
  EXPECT_NE(message("1f1").find("did you mean 1f1b"), std::string::npos) << message("1f1");
  EXPECT_NE(message("fifos").find("did you mean fifo"), std::string::npos) << message("fifos");
  EXPECT_NE(message("fifos").find("fifo, 1f1b, ring"), std::string::npos) << message("fifos");
}

}  // namespace
}  // namespace penstock::generate_test
