// SPDX-License-Identifier: Apache-2.0
#include "schedule/action.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace penstock::action_test {
namespace {

TEST(Action, TextForms) {
  EXPECT_EQ((Action{Work::forward, 2, 0}.text()), "2F0");
  EXPECT_EQ((Action{Work::backward, 1, 3}.text()), "1B3");
  EXPECT_EQ((Action{Work::input_gradient, 12, 34}.text()), "12I34");
  EXPECT_EQ((Action{Work::weight_gradient, 0, 7}.text()), "0W7");
  EXPECT_EQ((Action{Work::send_activation, 2, 0}.text()), "2F0>3");
  EXPECT_EQ((Action{Work::receive_activation, 3, 0}.text()), "3F0<2");
  EXPECT_EQ((Action{Work::send_gradient, 2, 0}.text()), "2I0>1");
  EXPECT_EQ((Action{Work::receive_gradient, 1, 0}.text()), "1I0<2");
  EXPECT_EQ((Action{Work::gather_parameters}.text()), "G");
  EXPECT_EQ((Action{Work::reduce_gradients}.text()), "R");
  EXPECT_EQ((Action{Work::tied_sum}.text()), "T");
  EXPECT_EQ((Action{Work::norm}.text()), "N");
  EXPECT_EQ((Action{Work::update}.text()), "U");
}

TEST(Action, EveryTextReadsBack) {
  for (int w = 0; w < work_count; ++w) {
    const Work work = static_cast<Work>(w);
    for (const int stage : {1, 10, 999}) {
      const Action action = is_whole_step(work) ? Action{work} : Action{work, stage, stage + 3};
      EXPECT_EQ(parse_action(action.text()), action) << action.text();
    }
  }
}

TEST(Action, WorkIsOfOneKind) {
  for (int w = 0; w < work_count; ++w) {
    const Work work = static_cast<Work>(w);
    EXPECT_EQ(is_compute(work) + is_transfer(work) + is_whole_step(work), 1) << name(work);
    EXPECT_EQ(is_send(work) + is_receive(work), is_transfer(work)) << name(work);
  }
}

TEST(Action, CounterpartsMeet) {
  const Action send{Work::send_gradient, 4, 2};
  EXPECT_EQ(counterpart(send).text(), "3I2<4");
  for (const char* text : {"2F0>3", "3F0<2", "2I0>1", "1I0<2"}) {
    const Action action = parse_action(text);
    EXPECT_EQ(counterpart(counterpart(action)), action);
    EXPECT_EQ(peer_stage(action), counterpart(action).stage);
  }
  EXPECT_THROW(peer_stage(Action{Work::forward, 1, 0}), LogicError);
}

TEST(Action, RefusesWhatIsOutsideTheGrammar) {
  for (const char* text :
       {"",        "F0",    "2F",    "2X0",   "2f0",    " 2F0",      "2F0 ",          "2F-1",  "-2F0",
        "2F0>",    "2F0>2", "2F0>1", "2I0>3", "0I0>-1", "0F0<-1",    "2I0<1",         "2W0>3", "2B0>1",
        "2F0>3>4", "2F0x3", "GG",    "2G0",   "G0",     "1234567F0", "0F99999999999", "2"})
    EXPECT_THROW(parse_action(text), InputError) << text;
}

TEST(Action, TheErrorHoldsWhatRuleAndCure) {
  try {
    parse_action("2F0>1");
    FAIL() << "no error";
  } catch (const InputError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("'2F0>1'"), std::string::npos) << what;
    EXPECT_NE(what.find("to the next one"), std::string::npos) << what;
    EXPECT_NE(what.find("2F0>3"), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace penstock::action_test
