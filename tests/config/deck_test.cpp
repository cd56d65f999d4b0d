// SPDX-License-Identifier: Apache-2.0
#include "config/deck.hpp"

#include <filesystem>
#include <fstream>

#include "config/message.hpp"

namespace penstock::deck_test {
namespace {

const DeckEntry& entry(const Deck& deck, const std::string& key) {
  for (const DeckEntry& candidate : deck.entries())
    if (candidate.key == key) return candidate;
  throw LogicError("the deck has no " + key);
}

template <typename T>
T held(const Deck& deck, const std::string& key) {
  return std::get<T>(entry(deck, key).value.value().value);
}

std::string kind_of(const std::string& written) {
  const auto value = parse_value(written);
  return value ? kind_text(*value) : "no TOML";
}

std::string dotted(int parts) {
  std::string key = "a";
  for (int part = 1; part < parts; ++part) key.append(".a");
  return key;
}

TEST(Deck, KeysOfManyPartsAreRefusedBeforeTheyAreParsed) {
  const std::string deep = dotted(100000);
  for (const char* form :
       {"{} = 1\n", "[{}]\n", "a = {{{} = 1}}\n", "x = \"#\"\n{} = 1\n", "x = '''\n'\n'''\n{} = 1\n"}) {
    try {
      Deck::parse(fmt::format(fmt::runtime(form), deep), "deep.toml");
      FAIL() << "accepted: " << form;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("more than 16 parts"), std::string::npos) << error.what();
    }
  }
  EXPECT_FALSE(parse_value(fmt::format("{{{} = 1}}", deep)));
}

TEST(Deck, DotsInTextAndCommentsAreNoKeys) {
  const std::string dots(100, '.');
  constexpr const char* form = R"(# {0}
[data]
train = "{0}\"{0}"  # {0}
validation = '{0}'
stage = """
{0}"""
)";
  EXPECT_EQ(held<std::string>(Deck::parse(fmt::format(form, dots), "deck"), "data.validation"), dots);
}

TEST(Deck, AnOverrideThatNoIntegerHoldsIsTooLarge) {
  Deck deck;
  for (const char* value : {"9223372036854775808", "-9223372036854775809", "+1_000_000_000_000_000_000_000"}) {
    try {
      deck.set(fmt::format("run.steps={}", value));
      FAIL() << "accepted: " << value;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("too large"), std::string::npos) << error.what();
    }
  }
  deck.set("run.steps=9223372036854775807");
  deck.set("data.train=+");
}

TEST(Deck, HoldsEveryTypeWithItsPlaceInTheOrderOfTheFile) {
  const Deck deck = Deck::parse(
      "# Run with: penstock train input/x.toml\n"
      "[run]\n"
      "steps = 1_000\n"
      "seed = 0x10\n"
      "\n"
      "[model]\n"
      "dropout = 1e-1\n"
      "bias = true\n"
      "family = 'gpt2'\n"
      "list = [1, 2.5, \"three\", [4]]\n",
      "input/x.toml");
  EXPECT_EQ(deck.name(), "input/x.toml");
  ASSERT_EQ(deck.entries().size(), 8u);
  EXPECT_EQ(deck.entries()[0].key, "run");
  EXPECT_FALSE(deck.entries()[0].value.has_value());
  EXPECT_EQ(deck.entries()[0].place, "input/x.toml:2");
  EXPECT_EQ(deck.entries()[1].key, "run.steps");
  EXPECT_EQ(deck.entries()[1].place, "input/x.toml:3");
  EXPECT_EQ(held<std::int64_t>(deck, "run.steps"), 1000);
  EXPECT_EQ(held<std::int64_t>(deck, "run.seed"), 16);
  EXPECT_EQ(held<double>(deck, "model.dropout"), 0.1);
  EXPECT_EQ(held<bool>(deck, "model.bias"), true);
  EXPECT_EQ(held<std::string>(deck, "model.family"), "gpt2");
  const auto list = held<DeckList>(deck, "model.list");
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(std::get<std::string>(list[2].value), "three");
  EXPECT_EQ(deck.entries()[7].place, "input/x.toml:10");
}

TEST(Deck, EmptyTextIsLegal) {
  EXPECT_TRUE(Deck::parse("", "x").entries().empty());
  EXPECT_TRUE(Deck::parse("# nothing but a remark\r\n", "x").entries().empty());
}

TEST(Deck, SyntaxErrorsSayFileLineAndColumn) {
  const std::string message = message_of([] { Deck::parse("[run]\nsteps = \n", "input/x.toml"); });
  EXPECT_EQ(message.rfind("input/x.toml:2:", 0), 0u) << message;
  expect_contains(message, "this is not TOML");
  const std::string twice = message_of([] { Deck::parse("[run]\nsteps = 1\nsteps = 2\n", "input/x.toml"); });
  EXPECT_EQ(twice.rfind("input/x.toml:3:", 0), 0u) << twice;
  expect_contains(message_of([] { Deck::parse("[run]\nsteps = 99999999999999999999\n", "y"); }), "y:2:");
  expect_contains(message_of([] { Deck::parse("[run]\nname = \"\xff\"\n", "y"); }), "y:2:");
}

TEST(Deck, OverridesTakeATomlValueOrElseAString) {
  Deck deck = Deck::parse("[mesh]\ntensor = 1\n", "x.toml");
  deck.set("mesh.tensor=4");
  deck.set(" mesh.data = 2 ");
  deck.set("run.flag=true");
  deck.set("run.rate=1e-3");
  deck.set("run.list=[1, 2]");
  deck.set("run.quoted=\"a b\"");
  deck.set("data.train=/tmp/my file.tokens");
  deck.set("data.equals=a=b");
  deck.set("data.empty=");
  deck.set("data.open=[1, 2");
  deck.set("data.smuggled=1\n[mesh]\ndata = 7");
  EXPECT_EQ(held<std::int64_t>(deck, "mesh.tensor"), 4);
  EXPECT_EQ(entry(deck, "mesh.tensor").place, "--set mesh.tensor=4");
  EXPECT_TRUE(entry(deck, "mesh.tensor").is_override);
  EXPECT_EQ(held<std::int64_t>(deck, "mesh.data"), 2);
  EXPECT_EQ(held<bool>(deck, "run.flag"), true);
  EXPECT_EQ(held<double>(deck, "run.rate"), 1e-3);
  EXPECT_EQ(held<DeckList>(deck, "run.list").size(), 2u);
  EXPECT_EQ(held<std::string>(deck, "run.quoted"), "a b");
  EXPECT_EQ(held<std::string>(deck, "data.train"), "/tmp/my file.tokens");
  EXPECT_EQ(held<std::string>(deck, "data.equals"), "a=b");
  EXPECT_EQ(held<std::string>(deck, "data.empty"), "");
  EXPECT_EQ(held<std::string>(deck, "data.open"), "[1, 2");
  EXPECT_EQ(held<std::string>(deck, "data.smuggled"), "1\n[mesh]\ndata = 7");
}

TEST(Deck, SaysWhatTheFileOrAnOverrideSays) {
  Deck deck = Deck::parse("[mesh]\ntensor = 1\n[data]\n", "x.toml");
  deck.set("run.steps=3");
  EXPECT_TRUE(deck.says("mesh.tensor"));
  EXPECT_TRUE(deck.says("run.steps"));
  EXPECT_FALSE(deck.says("data.train"));
  EXPECT_FALSE(deck.says("data")) << "a section is no value";
}

TEST(Deck, TheLastOverrideOfAKeyCounts) {
  Deck deck = Deck::parse("[mesh]\ntensor = 1\n", "x.toml");
  deck.set("mesh.tensor=4");
  deck.set("mesh.tensor=8");
  EXPECT_EQ(deck.entries().size(), 2u);  // [mesh] and the one value
  EXPECT_EQ(held<std::int64_t>(deck, "mesh.tensor"), 8);
}

TEST(Deck, TakesWhatAnotherFileSays) {
  Deck deck = Deck::parse("[model]\nlayers = 2\n", "deck.toml");
  deck.add("model.width", DeckValue{std::int64_t{8}}, "DIR/config.json");
  EXPECT_TRUE(deck.says("model.width"));
  EXPECT_EQ(deck.entries().back().place, "DIR/config.json");
  EXPECT_THROW(deck.add("model.layers", DeckValue{std::int64_t{8}}, "DIR/config.json"), LogicError);
}

TEST(Deck, RefusesMalformedOverrides) {
  for (const char* malformed : {"mesh.tensor", "=2", "mesh.=2", ".tensor=2", "mesh..tensor=2", "mesh tensor=2", ""}) {
    Deck deck;
    const std::string message = message_of([&] { deck.set(malformed); });
    expect_contains(message, std::string("--set ") + malformed + ": this is not of the form section.key=value");
    EXPECT_TRUE(deck.entries().empty());
  }
}

TEST(Deck, NamesWhatNoKeyTakes) {
  EXPECT_EQ(kind_of("2024-01-31"), "a date");
  EXPECT_EQ(kind_of("2024-01-31T10:00:00Z"), "a date");
  EXPECT_EQ(kind_of("10:00:00"), "a time");
  EXPECT_EQ(kind_of("{a = 1}"), "an inline table");
  EXPECT_EQ(kind_of("[1, \"a\"]"), "a list of mixed types");
  EXPECT_EQ(kind_of("[1, 2]"), "a list of integers");
  EXPECT_EQ(kind_of("[]"), "an empty list");
  EXPECT_EQ(kind_of("nothing"), "no TOML");
}

TEST(Deck, LoadsAFileAndSaysWhenItCannot) {
  const std::string folder = testing::TempDir() + "penstock_deck_test";
  std::filesystem::create_directories(folder);
  const std::string path = folder + "/x.toml";
  std::ofstream(path) << "[mesh]\ntensor = 2\n";
  EXPECT_EQ(held<std::int64_t>(Deck::load(path), "mesh.tensor"), 2);
  EXPECT_EQ(entry(Deck::load(path), "mesh.tensor").place, path + ":2");
  expect_contains(message_of([&] { Deck::load(folder + "/absent.toml"); }), "/absent.toml: cannot open this deck");
  expect_contains(message_of([&] { Deck::load(folder); }), "this is a folder");
  std::filesystem::remove_all(folder);
}

TEST(DeckValue, TomlTextReadsBackToTheSameValue) {
  const std::string odd = std::string("quote \" backslash \\ tab \t line \n return \r bell \x07 delete \x7f");
  EXPECT_EQ(std::get<std::string>(parse_value(toml_text(odd)).value().value), odd);
  EXPECT_EQ(toml_text(odd).find('\n'), std::string::npos);
  EXPECT_EQ(toml_text(1.0), "1.0");
  EXPECT_EQ(toml_text(-0.0), "-0.0");
  EXPECT_EQ(toml_text(1e20), "1e+20");
  EXPECT_EQ(toml_text(0.1), "0.1");
  EXPECT_EQ(toml_text(std::int64_t{-5}), "-5");
  EXPECT_EQ(toml_text(std::vector<std::string>{"a", "b"}), "[\"a\", \"b\"]");
}

TEST(DeckValue, LongTextIsShortenedBetweenCharacters) {
  EXPECT_EQ(shortened("short"), "short");
  EXPECT_EQ(shortened(std::string(200, 'x')), std::string(77, 'x') + "...");
  const std::string cut = shortened(std::string(76, 'x') + "\xc3\xbc" + std::string(100, 'y'));  // the cut falls inside
  EXPECT_EQ(cut, std::string(76, 'x') + "...");
}

}  // namespace
}  // namespace penstock::deck_test
