// SPDX-License-Identifier: Apache-2.0
#include "schedule/draw.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "schedule/lower.hpp"
#include "schedule/tables.hpp"

namespace penstock::draw_test {
namespace {

struct Drawn {
  Schedule schedule;
  Simulation simulation;
};

Drawn drawn(const Schedule& schedule) {
  const Schedule lowered = lower(schedule);
  return {lowered, simulate(lowered, equal_costs(lowered, {1, 1, 1}, 0))};
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(DrawText, TimeIsProportional) {
  const Drawn d = drawn(generate({.pipeline = 2, .microbatches = 2, .backward = Backward::fused}));
  EXPECT_EQ(d.simulation.makespan, 9);
  EXPECT_EQ(draw_text(d.schedule, d.simulation, 27),
            "rank 0 |F0-F1-......B0----...B1----|\n"
            "rank 1 |...F0-B0----F1-B1----......|\n");
}

TEST(DrawText, SplitHalvesAndChunks) {
  const Drawn split = drawn(generate({.pipeline = 2, .microbatches = 1}));
  EXPECT_EQ(draw_text(split.schedule, split.simulation, 15),
            "rank 0 |F0-......B0----|\n"
            "rank 1 |...F0-I0-W0-...|\n");
  const Drawn chunks = drawn(test::looped_table(2, 2, 1, true));
  EXPECT_EQ(draw_text(chunks.schedule, chunks.simulation, 48),
            "rank 0 |0F0-....2F0-............2B0-----........0B0-----|\n"
            "rank 1 |....1F0-....3F0-3B0-----........1B0-----........|\n");
}

TEST(DrawText, NarrowCellsKeepTheLetter) {
  const Drawn d = drawn(generate({.pipeline = 1, .microbatches = 12, .backward = Backward::fused}));
  EXPECT_EQ(draw_text(d.schedule, d.simulation, 36).substr(0, 18), "rank 0 |FB0FB1FB2F");
  EXPECT_EQ(draw_text(d.schedule, d.simulation, 72).substr(68), "F0B10-F1B11-|\n");
}

TEST(DrawSvg, HasABoxAnActionAndIsClosed) {
  Drawn d = drawn(generate({.pipeline = 3, .microbatches = 4}));
  d.schedule.name = "a<b>&c";
  const std::string svg = draw_svg(d.schedule, d.simulation);
  // 3 ranks * 4 microbatches * (F, I, W), but stage 0 has B for I and W; and 4 boxes of the legend
  EXPECT_EQ(count(svg, "<rect "), 4U * (3 + 3 + 2) + 4U);
  EXPECT_EQ(count(svg, "<g>"), count(svg, "</g>"));
  EXPECT_EQ(count(svg, "<text "), count(svg, "</text>"));
  EXPECT_NE(svg.find("<title>1I2: "), std::string::npos);
  EXPECT_NE(svg.find("a&lt;b&gt;&amp;c"), std::string::npos);
  EXPECT_EQ(svg.substr(0, 4), "<svg");
  EXPECT_EQ(svg.substr(svg.size() - 7), "</svg>\n");
}

}  // namespace
}  // namespace penstock::draw_test
