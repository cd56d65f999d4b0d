#include "schedule/generate.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.hpp"
#include "schedule/tables.hpp"
#include "schedule/validate.hpp"

namespace penstock {
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

TEST(Generate, EveryTableIsValid) {
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 8}, 16)) {
    const auto problem = find_problem(generate(request));
    EXPECT_FALSE(problem) << test::title(request) << problem->message;
  }
}

TEST(Generate, PeakOfActivations) {
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 8}, 16)) {
    const std::vector<int> peaks = generate(request).peak_activations();
    for (int rank = 0; rank < request.pipeline; ++rank)
      EXPECT_EQ(peaks[static_cast<std::size_t>(rank)], request.name == ScheduleName::fifo
                                                           ? request.microbatches
                                                           : std::min(request.pipeline - rank, request.microbatches))
          << test::title(request) << " rank " << rank;
  }
}

TEST(Generate, RefusesSizes) {
  EXPECT_THROW(make(ScheduleName::fifo, 0, 4, Backward::split), InputError);
  EXPECT_THROW(make(ScheduleName::fifo, 2, 0, Backward::split), InputError);
  EXPECT_THROW(generate({.name = ScheduleName::fifo, .pipeline = 2, .microbatches = 2, .chunks = 2}), InputError);
  EXPECT_THROW(generate({.name = ScheduleName::fifo, .pipeline = 2, .microbatches = 2, .chunks = 0}), InputError);
}

TEST(Generate, NamesReadBack) {
  for (const ScheduleName name : {ScheduleName::fifo, ScheduleName::one_forward_one_backward})
    EXPECT_EQ(parse_schedule_name(text(name)), name);
  for (const Backward backward : {Backward::split, Backward::fused})
    EXPECT_EQ(parse_backward(text(backward)), backward);
  EXPECT_THROW(parse_backward("merged"), InputError);
}

TEST(Generate, UnknownNamesAreAnsweredWithTheNearest) {
  EXPECT_NE(message("1f1").find("did you mean 1f1b"), std::string::npos) << message("1f1");
  EXPECT_NE(message("fifos").find("did you mean fifo"), std::string::npos) << message("fifos");
  EXPECT_NE(message("fifos").find("fifo and 1f1b"), std::string::npos) << message("fifos");
}

TEST(Generate, LaterNamesAreRefusedAsNotGeneratedYet) {
  for (const char* name : {"ring", "breadth-first", "zb-h1", "zb-h2", "zb-v"}) {
    EXPECT_NE(message(name).find("does not generate it yet"), std::string::npos) << message(name);
    EXPECT_NE(message(name).find("fifo or 1f1b"), std::string::npos) << message(name);
  }
}

}  // namespace
}  // namespace penstock
