// SPDX-License-Identifier: Apache-2.0
#include "config/field_table.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>

#include "config/message.hpp"

namespace penstock::field_table_test {
namespace {

enum class Order { fifo, in_turn, ring };

/// A small deck with every type and every rule.
struct Config {
  std::string train;
  std::int64_t layers = 8;
  std::int64_t width = 64;
  std::int64_t bits = 16;
  double dropout = 0.0;
  double epsilon = 1e-8;
  bool bias = true;
  Order schedule = Order::in_turn;
  std::string note;
  std::int64_t tensor = 1;
  std::vector<std::int64_t> steps;
  std::vector<std::string> taps{"logits"};

  void describe(FieldTable& table) {
    table.add("data.train", train, "Token file to learn from").required().not_empty();
    table.add("model.layers", layers, "Blocks").unit("blocks").at_least(1).at_most(1000);
    table.add("model.width", width, "Channels of the residual stream").unit("channels").above(0);
    table.add("model.bits", bits, "Bits of a number").unit("bits").one_of({16, 32});
    table.add("model.dropout", dropout, "Share of values set to zero").at_least(0).below(1);
    table.add("model.bias", bias, "Whether the matrices have a bias");
    table.add("optimizer.epsilon", epsilon, "Keeps the divisor from zero").above(0).advanced("Adam's epsilon hat.");
    table.add("schedule.name", schedule, "The order of work",
              {{"fifo", Order::fifo}, {"1f1b", Order::in_turn}, {"ring", Order::ring}});
    table.add("schedule.note", note, "A remark for the reader of the run folder");
    table.add("mesh.tensor", tensor, "Ranks that share a block's matrices").unit("ranks").at_least(1);
    table.add("capture.steps", steps, "Steps to capture").at_least(1);
    table.add("capture.taps", taps, "What to capture").one_of({"logits", "loss"}).not_empty();
  }
};

struct Table {
  Config config;
  FieldTable table;
  Table() { config.describe(table); }
};

/// The deck of `text` read behind the required key, which stands in line 2; `text` begins in line 3.
Deck deck_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Deck deck = Deck::parse("[data]\ntrain = \"a.tokens\"\n" + text, "input/x.toml");
  for (const std::string& key_and_value : overrides) deck.set(key_and_value);
  return deck;
}

Config read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Table t;
  t.table.read(deck_of(text, overrides));
  return t.config;
}

std::string complaint(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return message_of([&] { read(text, overrides); });
}

TEST(FieldTable, DefaultsStandWhereTheDeckIsSilent) {
  const Config config = read("");
  EXPECT_EQ(config.train, "a.tokens");
  EXPECT_EQ(config.layers, 8);
  EXPECT_EQ(config.dropout, 0.0);
  EXPECT_EQ(config.epsilon, 1e-8);
  EXPECT_TRUE(config.bias);
  EXPECT_EQ(config.schedule, Order::in_turn);
  EXPECT_TRUE(config.steps.empty());
  EXPECT_EQ(config.taps, std::vector<std::string>{"logits"});
}

TEST(FieldTable, ReadsEveryType) {
  const Config config = read(
      "[model]\nlayers = 12\nwidth = 768\ndropout = 0.25\nbias = false\nbits = 32\n"
      "[optimizer]\nepsilon = 1\n"  // an integer serves as a float
      "[schedule]\nname = \"ring\"\n"
      "[capture]\nsteps = [1, 10]\ntaps = ['loss', 'logits']\n");
  EXPECT_EQ(config.layers, 12);
  EXPECT_EQ(config.width, 768);
  EXPECT_EQ(config.dropout, 0.25);
  EXPECT_FALSE(config.bias);
  EXPECT_EQ(config.bits, 32);
  EXPECT_EQ(config.epsilon, 1.0);
  EXPECT_EQ(config.schedule, Order::ring);
  EXPECT_EQ(config.steps, (std::vector<std::int64_t>{1, 10}));
  EXPECT_EQ(config.taps, (std::vector<std::string>{"loss", "logits"}));
}

TEST(FieldTable, DottedKeysAndEmptySectionsAreLegal) {
  Table t;
  t.table.read(Deck::parse("mesh.tensor = 3\ndata.train = 'x'\n[capture]\n[model]\n", "x"));
  EXPECT_EQ(t.config.tensor, 3);
  EXPECT_EQ(t.config.train, "x");
}

TEST(FieldTable, OverridesWin) {
  const Config config = read("[mesh]\ntensor = 5\n", {"mesh.tensor=2", "schedule.name=fifo", "data.train=/b/c d"});
  EXPECT_EQ(config.tensor, 2);
  EXPECT_EQ(config.schedule, Order::fifo);
  EXPECT_EQ(config.train, "/b/c d");
  EXPECT_EQ(read("[mesh]\ntensor = \"wrong\"\n", {"mesh.tensor=2"}).tensor, 2);  // what is overridden is not judged
}

TEST(FieldTable, ASecondReadStartsFromTheDefaults) {
  Table t;
  t.table.read(deck_of("[model]\nlayers = 3\n"));
  EXPECT_TRUE(t.table.given("model.layers"));
  t.table.read(deck_of(""));
  EXPECT_EQ(t.config.layers, 8);
  EXPECT_FALSE(t.table.given("model.layers"));
}

TEST(FieldTable, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(complaint("[mesh]\ntensr = 2\n"),
            "input/x.toml:4: unknown key mesh.tensr; the nearest known key is mesh.tensor: write tensor under [mesh]");
  EXPECT_EQ(
      complaint("[model]\ntensor = 2\n"),
      "input/x.toml:4: unknown key model.tensor; the nearest known key is mesh.tensor: write tensor under [mesh]");
  EXPECT_EQ(complaint("", {"mesh.tensr=2"}),
            "--set mesh.tensr=2: unknown key mesh.tensr; the nearest known key is mesh.tensor: write --set "
            "mesh.tensor=...");
  expect_contains(complaint("", {"tensor=2"}), "unknown key tensor; the nearest known key is mesh.tensor");
  expect_contains(complaint("", {"mehs.tensor=2"}), "unknown key mehs.tensor; the nearest known key is mesh.tensor");
  expect_contains(complaint("", {"mesh.tensor.x=2"}),
                  "unknown key mesh.tensor.x; the nearest known key is mesh.tensor");
  expect_contains(complaint("[mesh]\n\"tensor.x\" = 2\n"), "input/x.toml:4: unknown key mesh.\"tensor.x\"");
}

TEST(FieldTable, KeysOutsideASectionAreUnknown) {
  Table t;
  expect_contains(message_of([&] { t.table.read(Deck::parse("tensor = 2\n[data]\ntrain = 'x'\n", "x")); }),
                  "x:1: unknown key tensor; the nearest known key is mesh.tensor: write tensor under [mesh]");
}

TEST(FieldTable, UnknownSectionIsToldOnce) {
  EXPECT_EQ(complaint("[modle]\nlayers = 2\nwidth = 8\n"),
            "input/x.toml:3: unknown section [modle]; the nearest known section is [model]");
}

TEST(FieldTable, WrongTypeSaysWhatIsGivenWantedAndHowToWriteIt) {
  EXPECT_EQ(complaint("[model]\nlayers = \"twelve\"\n"),
            "input/x.toml:4: model.layers = \"twelve\" is text, but it takes an integer; write it as in layers = 8 "
            "under [model]");
  expect_contains(complaint("[model]\nlayers = \"12\"\n"), "write it as in layers = 12 under [model]");
  expect_contains(complaint("[model]\nlayers = 12.0\n"),
                  "= 12.0 is a float, but it takes an integer; write it as in layers = 12");
  expect_contains(complaint("[model]\nlayers = 12.5\n"),
                  "= 12.5 is a float, but it takes an integer; write it as in layers = 8");
  expect_contains(complaint("[model]\nlayers = true\n"), "= true is a boolean, but it takes an integer");
  expect_contains(complaint("[model]\ndropout = \"0.5\"\n"),
                  "is text, but it takes a float; write it as in dropout = 0.5");
  expect_contains(complaint("[model]\nbias = 1\n"), "model.bias = 1 is an integer, but it takes a boolean");
  expect_contains(complaint("[model]\nbias = \"false\"\n"), "write it as in bias = false");
  expect_contains(complaint("[capture]\nsteps = 5\n"),
                  "is an integer, but it takes a list of integers; write it as in steps = [5]");
  expect_contains(complaint("[capture]\nsteps = [1, \"a\"]\n"),
                  "= [1, \"a\"] is a list of mixed types, but it takes a list of integers");
  expect_contains(complaint("[capture]\nsteps = [[1]]\n"), "is a list of lists, but");
  expect_contains(complaint("[capture]\ntaps = [1]\n"), "is a list of integers, but it takes a list of texts");
  EXPECT_EQ(complaint("", {"data.train=2024"}),
            "--set data.train=2024: data.train = 2024 is an integer, but it takes text; write it as in --set "
            "'data.train=\"2024\"'");
}

TEST(FieldTable, WhatTomlHasAndDecksHaveNotIsRefused) {
  expect_contains(complaint("[schedule]\nnote = 2024-01-31\n"),
                  "schedule.note = 2024-01-31 is a date, but it takes text");
  expect_contains(complaint("[schedule]\nnote = 10:00:00\n"), "is a time, but it takes text");
  expect_contains(complaint("[mesh]\ntensor = {a = 1}\n"), "is an inline table, but it takes an integer");
  expect_contains(complaint("[mesh.inner]\na = 1\n"),
                  "input/x.toml:3: [mesh.inner] is a section within a section; a deck has one level: keys stand "
                  "directly under [mesh]");
  expect_contains(complaint("[mesh]\ninner.a = 1\n"), "input/x.toml:4: [mesh.inner] is a section within a section");
  expect_contains(complaint("[[mesh]]\ntensor = 1\n"),
                  "mesh = [[...]] is a list of tables, but mesh is a section; write [mesh] once");
  expect_contains(complaint("[schedule]\nnote = \"a\\u0000b\"\n"), "holds a zero byte");
}

TEST(FieldTable, TextIsUtf8AndComesBackFromTheEcho) {
  const std::string path =
      "Gr\xc3\xbc\xc3\x9f"
      "e/\xe6\xb0\xb4.tok";
  Table t;
  t.table.read(deck_of("", {"schedule.note=" + path}));
  EXPECT_EQ(t.config.note, path);
  Table again;
  again.table.read(Deck::parse(t.table.echo(), "echo"));
  EXPECT_EQ(again.config.note, path);
  expect_contains(complaint("", {"schedule.note=a\xff."}), "not UTF-8");
}

TEST(FieldTable, ValueAndSectionAreNotTakenForEachOther) {
  Table t;
  expect_contains(message_of([&] { t.table.read(Deck::parse("mesh = 2\n[data]\ntrain = 'x'\n", "x")); }),
                  "x:1: mesh = 2 is an integer, but mesh is a section; write [mesh] once and its keys below it");
  expect_contains(message_of([&] { t.table.read(Deck::parse("mesh = {tensor = 2}\n[data]\ntrain = 'x'\n", "x")); }),
                  "is an inline table, but mesh is a section; write [mesh] once");
  expect_contains(complaint("", {"mesh=2"}),
                  "--set mesh=2: mesh = 2 is an integer, but mesh is a section; write --set mesh.key=value");
  EXPECT_EQ(
      complaint("[mesh.tensor]\nranks = 2\n"),
      "input/x.toml:3: mesh.tensor is written as a section, but it takes an integer; write tensor = 1 under [mesh]");
}

TEST(FieldTable, BrokenRuleSaysValueRuleAndCure) {
  EXPECT_EQ(complaint("[model]\nlayers = 0\n"),
            "input/x.toml:4: model.layers = 0 is less than 1; use an integer: at least 1, at most 1000");
  expect_contains(complaint("[model]\nlayers = 1001\n"), "model.layers = 1001 is more than 1000; use");
  expect_contains(complaint("[model]\nwidth = 0\n"), "is not above 0; use an integer: above 0");
  expect_contains(complaint("[model]\nbits = 8\n"), "is not among the choices; use an integer: 16 or 32");
  expect_contains(complaint("[model]\ndropout = 1.0\n"),
                  "model.dropout = 1.0 is not below 1; use a float: at least 0, below 1");
  expect_contains(complaint("[model]\ndropout = nan\n"), "model.dropout = nan is not finite; use");
  expect_contains(complaint("[optimizer]\nepsilon = inf\n"), "optimizer.epsilon = inf is not finite; use");
  expect_contains(complaint("[optimizer]\nepsilon = 0\n"), "optimizer.epsilon = 0 is not above 0");
  EXPECT_EQ(complaint("[schedule]\nname = \"1b1f\"\n"),
            "input/x.toml:4: schedule.name = \"1b1f\" is not among the choices (the nearest is 1f1b); use text: fifo, "
            "1f1b or ring");
  expect_contains(
      complaint("[capture]\nsteps = [3, 0]\n"),
      "capture.steps = [3, 0] does not fit: element 2, 0, is less than 1; use a list of integers: each at least 1");
  expect_contains(complaint("[capture]\ntaps = []\n"), "capture.taps = [] is empty; use a list of texts");
  expect_contains(complaint("[capture]\ntaps = [\"los\"]\n"),
                  "element 1, \"los\", is not among the choices (the nearest is loss)");
  expect_contains(complaint("", {"data.train="}), "--set data.train=: data.train = \"\" is empty; use text: not empty");
}

TEST(FieldTable, EdgesOfTheRulesAreRight) {
  EXPECT_EQ(read("[model]\nlayers = 1\n").layers, 1);
  EXPECT_EQ(read("[model]\nlayers = 1000\n").layers, 1000);
  EXPECT_EQ(read("[model]\ndropout = 0\n").dropout, 0.0);
  EXPECT_EQ(read("[optimizer]\nepsilon = 5e-324\n").epsilon, 5e-324);
  EXPECT_EQ(read("[model]\ndropout = 0.9999999999999999\n").dropout, 0.9999999999999999);
}

TEST(FieldTable, RulesHoldForTheFloatThatIsUsed) {
  struct {
    double beta = 0.9, epsilon = 1e-8, decay = 0;
  } config;
  FieldTable table;
  table.add("optimizer.beta", config.beta, "How much of a mean stays").at_least(0).below(1).used_as_float32();
  table.add("optimizer.epsilon", config.epsilon, "Keeps the divisor from zero").above(0).used_as_float32();
  table.add("optimizer.decay", config.decay, "How much of a weight goes").at_least(0).used_as_float32();
  const auto read_line = [&](const std::string& line) { table.read(Deck::parse("[optimizer]\n" + line, "x.toml")); };
  const auto refusal = [&](const std::string& line) { return message_of([&] { read_line(line); }); };
  const std::string used = " as a float32, which is what it is used as; use ";
  EXPECT_EQ(refusal("beta = 0.99999999"),
            "x.toml:2: optimizer.beta = 0.99999999 becomes 1" + used + "at most 0.99999994");
  EXPECT_EQ(refusal("epsilon = 1e-46"),
            "x.toml:2: optimizer.epsilon = 1e-46 becomes 0" + used + "at least 1.1754944e-38");
  expect_contains(refusal("epsilon = 1e-39"), used + "at least 1.1754944e-38");
  expect_contains(refusal("decay = 1e-46"), "becomes 0" + used + "0, or at least 1.1754944e-38");
  expect_contains(refusal("decay = 1e39"), "becomes inf" + used + "at most 3.4028235e+38");
  read_line("beta = 0.99999994\nepsilon = 1.2e-38\ndecay = 3e38");
  EXPECT_EQ(config.beta, 0.99999994) << "the value stays a double";
  EXPECT_EQ(config.epsilon, 1.2e-38);
  read_line("beta = 0\ndecay = 0");
  EXPECT_EQ(config.beta, 0);
}

TEST(FieldTable, RequiredAndMissing) {
  Table t;
  EXPECT_EQ(message_of([&] { t.table.read(Deck::parse("", "input/x.toml")); }),
            "input/x.toml: data.train is missing and has no default (Token file to learn from); write train = \"text\" "
            "under [data], or give --set data.train=...");
  Mistakes mistakes;
  t.table.read(Deck::parse("[data]\ntrain = 5\n", "input/x.toml"), mistakes);
  EXPECT_EQ(mistakes.lines().size(), 1u);  // wrong is not missing as well
}

TEST(FieldTable, AllMistakesStandInOneMessageInTheOrderOfTheFile) {
  Table t;
  Deck deck = Deck::parse("[run]\nsteps = 5\n[model]\nwidth = -9\nlayers = \"x\"\nlayer = 1\n", "input/x.toml");
  deck.set("mesh.tensor=0");
  const std::string message = message_of([&] { t.table.read(deck); });
  std::vector<std::string> lines;
  std::istringstream stream(message);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 7u) << message;
  EXPECT_EQ(lines[0], "6 mistakes in the input:");
  EXPECT_EQ(lines[1].rfind("  input/x.toml:1: unknown section [run]", 0), 0u);
  EXPECT_EQ(lines[2].rfind("  input/x.toml:4: model.width = -9", 0), 0u);
  EXPECT_EQ(lines[3].rfind("  input/x.toml:5: model.layers = \"x\"", 0), 0u);
  EXPECT_EQ(lines[4].rfind("  input/x.toml:6: unknown key model.layer; the nearest known key is model.layers", 0), 0u);
  EXPECT_EQ(lines[5].rfind("  --set mesh.tensor=0: mesh.tensor = 0 is less than 1", 0), 0u);
  EXPECT_EQ(lines[6].rfind("  input/x.toml: data.train is missing", 0), 0u);
}

TEST(FieldTable, RulesAcrossKeysJoinTheSameMessage) {
  Table t;
  Mistakes mistakes;
  t.table.read(deck_of("[model]\nlayers = 0\n", {"mesh.tensor=5"}), mistakes);
  EXPECT_TRUE(mistakes.any());
  EXPECT_EQ(t.config.layers, 8);  // the default, for the value is wrong
  EXPECT_FALSE(t.table.usable({"mesh.tensor", "model.layers"}));
  EXPECT_TRUE(t.table.usable({"mesh.tensor", "model.width"}));
  EXPECT_EQ(t.table.where("model.layers"), "input/x.toml:4");
  EXPECT_EQ(t.table.where("model.width"), "input/x.toml");
  mistakes.add("{}: mesh.tensor = {} does not divide", t.table.where("mesh.tensor"), t.config.tensor);
  const std::string message = message_of([&] { mistakes.throw_if_any(); });
  expect_contains(message, "2 mistakes in the input:\n  input/x.toml:4: model.layers = 0");
  expect_contains(message, "\n  --set mesh.tensor=5: mesh.tensor = 5 does not divide");
}

TEST(Mistakes, NoneIsNoError) {
  const Mistakes mistakes;
  EXPECT_FALSE(mistakes.any());
  EXPECT_NO_THROW(mistakes.throw_if_any());
}

TEST(FieldTable, EchoIsTheEffectiveDeckInOrderOfDeclaration) {
  Table t;
  t.table.read(deck_of("[capture]\nsteps = [1, 2]\n[model]\nlayers = 3\n", {"schedule.note=say \"hi\""}));
  EXPECT_EQ(t.table.echo(),
            "[data]\ntrain = \"a.tokens\"\n\n"
            "[model]\nlayers = 3\nwidth = 64\nbits = 16\ndropout = 0.0\nbias = true\n\n"
            "[optimizer]\nepsilon = 1e-08\n\n"
            "[schedule]\nname = \"1f1b\"\nnote = \"say \\\"hi\\\"\"\n\n"
            "[mesh]\ntensor = 1\n\n"
            "[capture]\nsteps = [1, 2]\ntaps = [\"logits\"]\n");
}

TEST(FieldTable, EchoLeavesOutARequiredKeyThatIsAbsent) {
  Table t;
  Mistakes mistakes;
  t.table.read(Deck("x"), mistakes);
  EXPECT_EQ(t.table.echo().find("train"), std::string::npos);
  EXPECT_EQ(t.table.echo().rfind("[data]\n\n[model]\n", 0), 0u);
}

/// Values of every type without rules, so that any value is legal.
struct Anything {
  std::int64_t integer = 0;
  double real = 0;
  bool boolean = false;
  std::string text;
  std::vector<std::int64_t> integers;
  std::vector<std::string> texts;

  void describe(FieldTable& table) {
    table.add("one.integer", integer, "i");
    table.add("one.real", real, "r");
    table.add("two.boolean", boolean, "b");
    table.add("two.text", text, "t");
    table.add("one.integers", integers, "is");
    table.add("two.texts", texts, "ts");
  }
};

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

TEST(FieldTable, EchoRoundTripsRandomValuesBitForBit) {
  std::mt19937_64 random(20240501);
  const auto random_text = [&] {
    std::string text(random() % 20, ' ');
    for (char& c : text) c = static_cast<char>(1 + random() % 127);
    return text;
  };
  const auto random_double = [&] {
    for (;;) {
      const std::uint64_t bits = random();
      double value;
      std::memcpy(&value, &bits, sizeof value);
      if (std::isfinite(value)) return value;
    }
  };
  std::vector<double> reals{-0.0,
                            1e16,
                            9007199254740993.0,
                            5e-324,
                            -5e-324,
                            std::numeric_limits<double>::max(),
                            std::numeric_limits<double>::min(),
                            0.1,
                            1.0 / 3.0,
                            100.0,
                            1e5,
                            1e-5};
  while (reals.size() < 500) reals.push_back(random_double());
  std::vector<std::int64_t> integers{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(),
                                     0};
  while (integers.size() < reals.size()) integers.push_back(static_cast<std::int64_t>(random()));

  for (std::size_t i = 0; i < reals.size(); ++i) {
    Anything written{integers[i], reals[i], random() % 2 == 0, random_text(), {}, {}};
    for (std::size_t n = random() % 4; n > 0; --n) written.integers.push_back(static_cast<std::int64_t>(random()));
    for (std::size_t n = random() % 4; n > 0; --n) written.texts.push_back(random_text());
    FieldTable writer;
    written.describe(writer);
    const std::string echo = writer.echo();

    Anything back;
    FieldTable reader;
    back.describe(reader);
    reader.read(Deck::parse(echo, "echo"));
    EXPECT_EQ(back.integer, written.integer);
    EXPECT_TRUE(same_bits(back.real, written.real)) << echo;
    EXPECT_EQ(back.boolean, written.boolean);
    EXPECT_EQ(back.text, written.text);
    EXPECT_EQ(back.integers, written.integers);
    EXPECT_EQ(back.texts, written.texts);
    EXPECT_EQ(reader.echo(), echo);
  }
}

TEST(FieldTable, ExplainGivesEveryKeyWithin100Columns) {
  Table t;
  std::string remark = "default text that is far too long for its column";
  t.table.add("schedule.long", remark, std::string(40, 'm') + " " + std::string(40, 'n') + " and so on and on");
  const std::string text = t.table.explain();
  for (const Field& field : t.table.fields()) expect_contains(text, "\n  " + field.name() + " ");
  for (const char* section : {"[data]\n", "\n[model]\n", "\n[optimizer]\n", "\n[schedule]\n", "\n[mesh]\n"})
    expect_contains(text, section);
  expect_contains(text, "(required)");
  expect_contains(text, "at least 1, at most 1000");
  expect_contains(text, "fifo, 1f1b or ring");
  expect_contains(text, "\"" + remark + "\"\n");  // the meaning begins on the next line
  std::istringstream stream(text);
  std::size_t layers_unit_column = 0, tensor_unit_column = 1;
  for (std::string line; std::getline(stream, line);) {
    EXPECT_LE(line.size(), 100u) << line;
    if (line.rfind("  layers ", 0) == 0) layers_unit_column = line.find("blocks");
    if (line.rfind("  tensor ", 0) == 0) tensor_unit_column = line.find("ranks");
    EXPECT_FALSE(line.ends_with(' ')) << line;
  }
  EXPECT_EQ(layers_unit_column, tensor_unit_column) << "the columns are not aligned";
}

TEST(FieldTable, ExplainsOneSectionOrOneKey) {
  Table t;
  const std::string section = t.table.explain("model");
  EXPECT_EQ(section.rfind("[model]\n", 0), 0u);
  EXPECT_EQ(section.find("[mesh]"), std::string::npos);
  EXPECT_EQ(t.table.explain("optimizer.epsilon"),
            "optimizer.epsilon\n"
            "  Keeps the divisor from zero\n"
            "  type      float\n"
            "  default   1e-08\n"
            "  rule      above 0\n"
            "  Adam's epsilon hat.\n");
  expect_contains(t.table.explain("data.train"), "default   none: a deck must say it");
  expect_contains(t.table.explain("mesh.tensor"), "unit      ranks");
  EXPECT_EQ(
      message_of([&] { t.table.explain("mesh.tensr"); }),
      "mesh.tensr is no key of a deck; the nearest in its section is mesh.tensor, and `penstock explain mesh` shows "
      "all");
  EXPECT_EQ(message_of([&] { t.table.explain("mehs.tensor"); }),
            "mehs.tensor is neither a key nor a section of a deck; the nearest known key is mesh.tensor, the nearest "
            "section mesh");
}

TEST(FieldTable, MistakesOfADeclarationAreLogicErrors) {
  std::int64_t number = 0;
  std::string text;
  FieldTable table;
  table.add("a.number", number, "n");
  EXPECT_THROW(table.add("a.number", number, "again"), LogicError);
  EXPECT_THROW(table.add("number", number, "no section"), LogicError);
  EXPECT_THROW(table.add("a.b.number", number, "too deep"), LogicError);
  EXPECT_THROW(table.add(".number", number, "no section"), LogicError);
  EXPECT_THROW(table.add("a.text", text, "t").at_least(1), LogicError);
  EXPECT_THROW(table.add("a.other", number, "n").one_of({"x"}), LogicError);
  EXPECT_THROW((void)table.where("a.absent"), LogicError);
  FieldTable broken_default;
  broken_default.add("a.number", number, "n").at_least(1);
  EXPECT_THROW(broken_default.read(Deck()), LogicError);
}

}  // namespace
}  // namespace penstock::field_table_test
