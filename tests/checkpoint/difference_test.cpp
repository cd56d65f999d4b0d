// SPDX-License-Identifier: Apache-2.0
// What people and programs see of files: list, verify, show, diff.

#include "checkpoint/difference.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/inspect.hpp"
#include "checkpoint/sample_file.hpp"
#include "storage/temporary_folder.hpp"

namespace penstock::difference_test {
namespace {

class InspectTest : public testing::Test {
 protected:
  const DifferenceLine& line(const Difference& difference, const std::string& name) {
    for (const DifferenceLine& l : difference.lines)
      if (l.name == name) return l;
    throw std::runtime_error("no line " + name);
  }

  const std::vector<NamedRows> keys{{"blocks.0.attention.qkv.bias", 6, 12, "key rows"}};
  TemporaryFolder folder;
  std::filesystem::path a = folder.path() / "step-00000100.h5", b = folder.path() / "step-00000200.h5";
  IoThread io;
};

TEST_F(InspectTest, EqualFilesDifferInNothing) {
  write_small_checkpoint(a);
  write_small_checkpoint(b);
  EXPECT_EQ(diff_files(io, a, b).lines.size(), 12U);
  const Difference difference = diff_files(io, a, b, {.named_rows = keys});
  EXPECT_TRUE(difference.equal_bits);
  EXPECT_EQ(difference.largest, 0);
  EXPECT_EQ(difference.lines.size(), 15U);  // 3 x 4 arrays, and 3 times the key rows
  EXPECT_TRUE(difference.attributes.empty());
  EXPECT_NE(text_of(difference, 20).find("15 of 15 datasets have equal bits"), std::string::npos);
}

TEST_F(InspectTest, DifferencesAreMeasuredAndSorted) {
  write_small_checkpoint(a, 100, [](State, const std::string&, std::int64_t) { return 2.0F; });
  write_small_checkpoint(b, 200, [](State state, const std::string& name, std::int64_t i) {
    if (state == State::parameters && name == "final_norm.weight" && i == 5) return 2.5F;
    if (name == "blocks.0.attention.qkv.bias" && i == 7) return 12.0F;  // rows 6 to 11 are the keys
    return 2.0F;
  });
  const Difference all = diff_files(io, a, b, {.named_rows = keys});
  EXPECT_FALSE(all.equal_bits);
  EXPECT_EQ(all.largest, 10);
  EXPECT_TRUE(all.lines[0].name.ends_with("qkv.bias key rows")) << all.lines[0].name;
  EXPECT_TRUE(line(all, "/parameters/blocks.0.attention.qkv.bias").equal_bits) << "the rest of it";
  ASSERT_EQ(all.attributes.size(), 2U);
  EXPECT_EQ(all.attributes[1].name, "step");
  EXPECT_EQ(all.attributes[1].in_b, "200");

  const Difference rest = diff_files(io, a, b, {.leave_out = {"*key rows"}, .named_rows = keys});
  EXPECT_FALSE(rest.equal_bits);
  EXPECT_EQ(rest.largest, 0.5);
  // || (0,..,0.5) || / || (2,2,2,2,2,2.5) ||
  EXPECT_NEAR(rest.relative_norm, 0.5 / std::sqrt(26.25), 1e-12) << "two square roots and a division: a few roundings";
  EXPECT_EQ(diff_files(io, a, b, {.leave_out = {"*key rows", "/parameters/final*"}, .named_rows = keys}).equal_bits,
            true);

  const nlohmann::ordered_json json = json_of(rest);
  EXPECT_EQ(json["equal"], false);
  EXPECT_EQ(json["largest"], 0.5);
  EXPECT_EQ(json["datasets"].size(), 15U);
  EXPECT_EQ(json["datasets"][0]["name"], "/parameters/final_norm.weight") << "what is left out stands behind the rest";
  EXPECT_EQ(json["datasets"][14]["left_out"], true);
}

TEST_F(InspectTest, TheTextNamesWhatDiffersMost) {
  write_small_checkpoint(a, 100, [](State, const std::string&, std::int64_t) { return 2.0F; });
  write_small_checkpoint(b, 100, [](State state, const std::string& name, std::int64_t) {
    return state == State::parameters && name == "final_norm.weight" ? 4.0F : 3.0F;
  });
  const Difference difference = diff_files(io, a, b);
  const std::string two = text_of(difference, 2), all = text_of(difference, 15);
  EXPECT_NE(two.find("/parameters/final_norm.weight"), std::string::npos) << two;
  EXPECT_NE(two.find("10 more: --all"), std::string::npos) << two;
  EXPECT_NE(two.find("0 of 12 datasets have equal bits"), std::string::npos) << two;
  EXPECT_EQ(all.find("--all"), std::string::npos) << all;
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n') - std::count(two.begin(), two.end(), '\n'), 9);
}

TEST_F(InspectTest, TheTextNamesTheKeysInWhichDecksDiffer) {
  Difference difference;
  difference.attributes = {{"deck", "[mesh]\ndata = 1\ntensor = 2\n", "[mesh]\ndata = 2\ntensor = 2\nauto = true\n"}};
  const std::string text = text_of(difference, 20);
  EXPECT_NE(text.find("deck, mesh.data: 1 and 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("deck, mesh.auto: - and true\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("mesh.tensor"), std::string::npos) << text;
  difference.attributes = {{"deck", "no deck", "[mesh]\n"}};
  EXPECT_NE(text_of(difference, 20).find("the decks differ"), std::string::npos);
}

TEST_F(InspectTest, BitsAndNumbersThatAreNoneCount) {
  write_small_checkpoint(a, 100, [](State, const std::string&, std::int64_t) { return 0.0F; });
  write_small_checkpoint(b, 100, [](State, const std::string&, std::int64_t i) { return i == 0 ? -0.0F : 0.0F; });
  const Difference zeros = diff_files(io, a, b);
  EXPECT_FALSE(zeros.equal_bits) << "-0 is another bit pattern";
  EXPECT_EQ(zeros.largest, 0);
  write_small_checkpoint(b, 100, [](State, const std::string&, std::int64_t) { return NAN; });
  EXPECT_TRUE(std::isinf(diff_files(io, a, b).largest));
  EXPECT_TRUE(json_of(diff_files(io, a, b))["largest"].dump() == "null");
  EXPECT_TRUE(diff_files(io, b, b).equal_bits) << "the same NaN";
}

TEST_F(InspectTest, OtherModelsAreNotComparable) {
  write_small_checkpoint(a);
  write_small_checkpoint(b, 100, usual_value, {{"final_norm.weight", {7}}, {"other", {2}}});
  const Difference difference = diff_files(io, a, b);
  EXPECT_FALSE(difference.equal_bits);
  EXPECT_NE(line(difference, "/parameters/final_norm.weight").problem.find("[6] and float32 [7]"), std::string::npos);
  EXPECT_NE(line(difference, "/parameters/other").problem.find("only in " + b.string()), std::string::npos);
  EXPECT_NE(line(difference, "/parameters/embedding.token.weight").problem.find("only in " + a.string()),
            std::string::npos);
}

TEST_F(InspectTest, ListsAFolder) {
  EXPECT_THROW(list_checkpoints(io, folder.path() / "nowhere"), InputError);
  EXPECT_EQ(text_of(list_checkpoints(io, folder.path())), "no checkpoints\n");
  write_small_checkpoint(a);
  std::ofstream(b) << "a text";
  std::ofstream(folder.path() / "step-x.h5") << "not by the name of one";
  std::filesystem::create_directory(folder.path() / "run");
  std::filesystem::rename(a, folder.path() / "run" / a.filename());
  std::filesystem::rename(b, folder.path() / "run" / b.filename());
  std::filesystem::create_directory(folder.path() / "run/checkpoints");
  for (const auto& file : {a, b})
    std::filesystem::rename(folder.path() / "run" / file.filename(),
                            folder.path() / "run/checkpoints" / file.filename());
  const auto list = list_checkpoints(io, folder.path() / "run");
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].file.step, 200);
  EXPECT_NE(list[0].problem.find("not an HDF5 file"), std::string::npos);
  EXPECT_EQ(list[1].problem, "");
  EXPECT_EQ(list[1].meta.samples, 1600);
  EXPECT_EQ(json_of(list)[1]["samples"], 1600);
  EXPECT_EQ(json_of(list)[0]["whole"], false);
  EXPECT_NE(text_of(list).find("NOT WHOLE"), std::string::npos);
}

TEST_F(InspectTest, VerifiesAndShows) {
  write_small_checkpoint(a);
  const Verification good = verify_file(io, a);
  EXPECT_TRUE(good.whole) << good.problem;
  EXPECT_EQ(good.arrays, 12U);
  EXPECT_EQ(good.bytes, std::filesystem::file_size(a));
  EXPECT_EQ(json_of(good)["whole"], true);
  const Shown shown = show_file(io, a);
  EXPECT_NE(text_of(shown).find("/parameters/final_norm.weight  float32 [6]"), std::string::npos) << text_of(shown);
  EXPECT_NE(text_of(shown).find("steps = 200"), std::string::npos);
  EXPECT_EQ(json_of(shown)["attributes"]["step"], 100);
  EXPECT_EQ(json_of(shown)["datasets"].size(), 12U);

  std::filesystem::resize_file(a, std::filesystem::file_size(a) - 1);
  const Verification bad = verify_file(io, a);
  EXPECT_FALSE(bad.whole);
  EXPECT_NE(bad.problem.find(a.string()), std::string::npos);
  EXPECT_FALSE(verify_file(io, folder.path() / "nowhere.h5").whole);
  EXPECT_THROW(show_file(io, a), InputError);
}

}  // namespace
}  // namespace penstock::difference_test
