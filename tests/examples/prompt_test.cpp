// The language of the prompts: what is accepted, what is refused and with which words, tokens, the held-out split.
#include "common/prompt.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace aulos_examples;

struct Accepted {
  const char* text;
  const char* canonical;
};

class PromptAccepted : public testing::TestWithParam<Accepted> {};

TEST_P(PromptAccepted, GivesTheScene) {
  const Prompt prompt = parse_prompt(GetParam().text);
  EXPECT_EQ(to_text(prompt.scene), GetParam().canonical);
  EXPECT_EQ(parse_prompt(to_text(prompt.scene)).scene, prompt.scene);
}

INSTANTIATE_TEST_SUITE_P(
    Table, PromptAccepted,
    testing::Values(Accepted{"red circle", "a red circle"}, Accepted{"a red circle", "a red circle"},
                    Accepted{"A RED CIRCLE", "a red circle"}, Accepted{"an orange star", "an orange star"},
                    Accepted{"a orange star", "an orange star"}, Accepted{"an red star", "a red star"},
                    Accepted{"  green \t square\n", "a green square"},
                    Accepted{"small blue triangle", "a small blue triangle"},
                    Accepted{"a medium yellow cross", "a medium yellow cross"},
                    Accepted{"large purple circle", "a large purple circle"},
                    Accepted{"a small orange circle", "a small orange circle"}, Accepted{"white star", "a white star"},
                    Accepted{"black cross", "a black cross"},
                    Accepted{"red circle above blue square", "a red circle above a blue square"},
                    Accepted{"a red circle below a blue square", "a red circle below a blue square"},
                    Accepted{"red circle left of blue square", "a red circle left of a blue square"},
                    Accepted{"red circle right of an orange square", "a red circle right of an orange square"},
                    Accepted{"red circle inside blue square", "a red circle inside a blue square"},
                    Accepted{"Red Circle LEFT OF Blue Square", "a red circle left of a blue square"},
                    Accepted{"red circle inside red circle", "a red circle inside a red circle"},
                    Accepted{"red circle on a white background", "a red circle on a white background"},
                    Accepted{"red circle on white background", "a red circle on a white background"},
                    Accepted{"red circle on an orange background", "a red circle on an orange background"},
                    Accepted{"red circle on red background", "a red circle on a red background"},
                    Accepted{"a small red circle above a large blue square on a black background",
                             "a small red circle above a large blue square on a black background"},
                    Accepted{"small red star right of large green cross on an yellow background",
                             "a small red star right of a large green cross on a yellow background"}));

struct Refused {
  const char* text;
  const char* message;
};

class PromptRefused : public testing::TestWithParam<Refused> {};

TEST_P(PromptRefused, SaysWhy) {
  try {
    parse_prompt(GetParam().text);
    FAIL() << "accepted: " << GetParam().text;
  } catch (const PromptError& error) {
    EXPECT_EQ(error.what(), std::string("prompt: ") + GetParam().message);
  }
}

#define AULOS_SHAPES "a shape (circle, square, triangle, star, cross)"
#define AULOS_COLOURS "(red, green, blue, yellow, orange, purple, white, black)"
#define AULOS_RELATIONS "a relation (above, below, left of, right of, inside), 'on a COLOUR background' or the end"

INSTANTIATE_TEST_SUITE_P(
    Table, PromptRefused,
    testing::Values(
        Refused{"", "it is empty, expected for example 'a red circle above a blue square'"},
        Refused{" \t\n\r ", "it is empty, expected for example 'a red circle above a blue square'"},
        Refused{"a", "it ends after word 1 ('a'), expected a size or colour " AULOS_COLOURS},
        Refused{"a an red circle", "word 2 is 'an', expected a size or colour " AULOS_COLOURS},
        Refused{"small", "it ends after word 1 ('small'), expected a colour " AULOS_COLOURS},
        Refused{"small large red circle", "word 2 is 'large', expected a colour " AULOS_COLOURS},
        Refused{"red", "it ends after word 1 ('red'), expected " AULOS_SHAPES},
        Refused{"red small circle", "word 2 is 'small', expected " AULOS_SHAPES},
        Refused{"red blue circle", "word 2 is 'blue', expected " AULOS_SHAPES},
        Refused{"circle", "word 1 is 'circle', expected a size or colour " AULOS_COLOURS},
        Refused{"circle red", "word 1 is 'circle', expected a size or colour " AULOS_COLOURS},
        Refused{"above", "word 1 is 'above', expected a size or colour " AULOS_COLOURS},
        Refused{"red circle circle", "word 3 is 'circle', expected " AULOS_RELATIONS},
        Refused{"red circle blue square", "word 3 is 'blue', expected " AULOS_RELATIONS},
        Refused{"red circle of blue square", "word 3 is 'of', expected " AULOS_RELATIONS},
        Refused{"red circle background", "word 3 is 'background', expected " AULOS_RELATIONS},
        Refused{"red circle a", "word 3 is 'a', expected " AULOS_RELATIONS},
        Refused{"red circle above", "it ends after word 3 ('above'), expected a size or colour " AULOS_COLOURS},
        Refused{"red circle left blue square", "word 4 is 'blue', expected 'of'"},
        Refused{"red circle right", "it ends after word 3 ('right'), expected 'of'"},
        Refused{"red circle left of", "it ends after word 4 ('of'), expected a size or colour " AULOS_COLOURS},
        Refused{"red circle above of blue square", "word 4 is 'of', expected a size or colour " AULOS_COLOURS},
        Refused{"red circle above blue", "it ends after word 4 ('blue'), expected " AULOS_SHAPES},
        Refused{"red circle above blue square below green star",
                "word 6 is 'below', expected 'on a COLOUR background' or the end"},
        Refused{"red circle above blue square star", "word 6 is 'star', expected 'on a COLOUR background' or the end"},
        Refused{"red circle on", "it ends after word 3 ('on'), expected a background colour " AULOS_COLOURS},
        Refused{"red circle on a", "it ends after word 4 ('a'), expected a background colour " AULOS_COLOURS},
        Refused{"red circle on a small background", "word 5 is 'small', expected a background colour " AULOS_COLOURS},
        Refused{"red circle on white", "it ends after word 4 ('white'), expected 'background'"},
        Refused{"red circle on white square", "word 5 is 'square', expected 'background'"},
        Refused{"red circle on white background on", "word 6 is 'on', expected nothing after 'background'"},
        Refused{"red circle on a white background above blue square",
                "word 7 is 'above', expected nothing after 'background'"},
        Refused{"on a white background", "word 1 is 'on', expected a size or colour " AULOS_COLOURS},
        Refused{"red crcle", "word 2 is unknown: 'crcle' (the nearest known word is 'circle')"},
        Refused{"rde circle", "word 1 is unknown: 'rde' (the nearest known word is 'red')"},
        Refused{"RED CIRCEL", "word 2 is unknown: 'circel' (the nearest known word is 'circle')"},
        Refused{"a pruple star", "word 2 is unknown: 'pruple' (the nearest known word is 'purple')"},
        Refused{"red circles", "word 2 is unknown: 'circles' (the nearest known word is 'circle')"},
        Refused{"red circle, above blue square", "word 2 is unknown: 'circle,' (the nearest known word is 'circle')"},
        Refused{"red circle above blue sqare.", "word 5 is unknown: 'sqare.' (the nearest known word is 'square')"},
        Refused{"red circle on a white backround",
                "word 6 is unknown: 'backround' (the nearest known word is 'background')"},
        Refused{"the red circle", "word 1 is unknown: 'the' (the nearest known word is 'red')"},
        Refused{"red circle a\x1b[31m", "word 3 is unknown: 'a?[31m' (the nearest known word is 'medium')"},
        Refused{"red xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "word 2 is unknown: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' (the nearest known word is "
                "'small')"}));

#undef AULOS_SHAPES
#undef AULOS_COLOURS
#undef AULOS_RELATIONS

TEST(Prompt, EveryUnknownLengthGetsOneLine) {
  for (const std::size_t length : {1U, 1000U, 100000U}) {
    try {
      parse_prompt("red " + std::string(length, 'q'));
      FAIL();
    } catch (const PromptError& error) {
      EXPECT_LT(std::string(error.what()).size(), 160U);
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
  }
}

TEST(Prompt, KeepsTheWordsAsWritten) {
  const Prompt prompt = parse_prompt("An  ORANGE star left OF small red cross");
  EXPECT_EQ(prompt.words, (std::vector<std::string>{"an", "orange", "star", "left", "of", "small", "red", "cross"}));
  ASSERT_TRUE(prompt.scene.second);
  EXPECT_EQ(prompt.scene.first, (Object{std::nullopt, Colour::orange, Shape::star}));
  EXPECT_EQ(prompt.scene.second->relation, Relation::left_of);
  EXPECT_EQ(prompt.scene.second->object, (Object{Size::small, Colour::red, Shape::cross}));
  EXPECT_FALSE(prompt.scene.background);
}

TEST(Prompt, WarnsOfWhatCannotBeSeen) {
  EXPECT_EQ(invisible_reason(parse_prompt("red circle on red background").scene),
            "an object has the colour of the background (red)");
  EXPECT_EQ(invisible_reason(parse_prompt("red circle above blue star on blue background").scene),
            "an object has the colour of the background (blue)");
  EXPECT_EQ(invisible_reason(parse_prompt("red circle inside red star").scene),
            "the inner and the outer object have the same colour (red)");
  EXPECT_EQ(invisible_reason(parse_prompt("red circle above red star on blue background").scene), "");
  EXPECT_EQ(invisible_reason(parse_prompt("red circle inside blue star").scene), "");
}

const std::vector<std::string> kWords = {"<pad>", "<bos>",  "a",      "an",       "small",  "medium", "large",
                                         "red",   "green",  "blue",   "yellow",   "orange", "purple", "white",
                                         "black", "circle", "square", "triangle", "star",   "cross",  "above",
                                         "below", "left",   "right",  "of",       "inside", "on",     "background"};

TEST(Vocabulary, EncodesWithMarksAndPads) {
  const Vocabulary vocabulary(kWords);
  EXPECT_EQ(vocabulary.size(), 28U);
  EXPECT_EQ(vocabulary.encode(parse_prompt("a small red circle left of blue square").words, 16),
            (std::vector<std::int64_t>{1, 2, 4, 7, 15, 22, 24, 9, 16, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(vocabulary.encode({}, 4), (std::vector<std::int64_t>{1, 0, 0, 0}));
  const Prompt longest = parse_prompt("a small red circle left of an large orange square on an yellow background");
  EXPECT_EQ(longest.words.size(), 14U);
  EXPECT_EQ(vocabulary.encode(longest.words, 16),
            (std::vector<std::int64_t>{1, 2, 4, 7, 15, 22, 24, 3, 6, 11, 16, 26, 3, 10, 27, 0}));
  EXPECT_EQ(vocabulary.encode(longest.words, 15).size(), 15U);
}

TEST(Vocabulary, RefusesWhatDoesNotFit) {
  const Vocabulary vocabulary(kWords);
  EXPECT_THROW(vocabulary.encode(std::vector<std::string>(16, "a"), 16), aulos::ConfigError);
  EXPECT_THROW(vocabulary.encode({}, 0), aulos::ConfigError);
  EXPECT_THROW(Vocabulary({"<pad>", "<bos>", "red", "red"}), aulos::ConfigError);
  EXPECT_THROW(Vocabulary({"<pad>", "red"}), aulos::ConfigError);
  EXPECT_THROW(Vocabulary({}), aulos::ConfigError);
  try {
    Vocabulary({"<pad>", "<bos>", "red"}).encode({"red", "circle"}, 16);
    FAIL();
  } catch (const aulos::ConfigError& error) {
    EXPECT_STREQ(error.what(), "prompt: the checkpoint's vocabulary lacks 'circle'");
  }
}

// Published vectors of FNV-1a.
static_assert(fnv1a64("") == 0xcbf29ce484222325U);
static_assert(fnv1a64("a") == 0xaf63dc4c8601ec8cU);
static_assert(fnv1a64("foobar") == 0x85944171f73967e8U);

// From the training script's own function.
TEST(HeldOut, AgreesWithTheTrainingScript) {
  EXPECT_EQ(fnv1a64("red circle left of blue square"), 0x9b77b0840bd4a35dU);
  EXPECT_EQ(fnv1a64("black cross inside white star"), 0x71410644dba27143U);
  EXPECT_EQ(fnv1a64("red circle above red circle"), 0x97a25575cf0f0a1eU);
  for (const char* text : {"red circle above red star", "red circle above red cross", "red circle above green circle",
                           "red circle above purple square", "red circle above black star"}) {
    EXPECT_TRUE(held_out(parse_prompt(text).scene)) << text;
  }
  for (const char* text : {"red circle left of blue square", "black cross inside white star", "red circle"}) {
    EXPECT_FALSE(held_out(parse_prompt(text).scene)) << text;
  }
  std::map<Relation, int> count;
  for (const Scene& scene : held_out_scenes()) ++count[scene.second->relation];
  EXPECT_EQ(count, (std::map<Relation, int>{{Relation::above, 149},
                                            {Relation::below, 165},
                                            {Relation::left_of, 150},
                                            {Relation::right_of, 161},
                                            {Relation::inside, 142}}));
}

TEST(HeldOut, SizesAndBackgroundAreNotInTheCombination) {
  EXPECT_EQ(combination(parse_prompt("a small red circle above a large red star on a blue background").scene),
            "red circle above red star");
  EXPECT_EQ(combination(parse_prompt("red circle").scene), "");
  EXPECT_TRUE(held_out(parse_prompt("a small red circle above a large red star on a blue background").scene));
}

TEST(HeldOut, SamplesAreSeededVisibleDistinctAndBalanced) {
  const std::vector<Scene> sample = sample_held_out(200, 7);
  ASSERT_EQ(sample.size(), 200U);
  EXPECT_EQ(sample, sample_held_out(200, 7));
  EXPECT_NE(sample, sample_held_out(200, 8));
  std::set<std::string> seen;
  std::map<Relation, int> relations;
  int sizes = 0, backgrounds = 0;
  for (const Scene& scene : sample) {
    EXPECT_TRUE(held_out(scene));
    EXPECT_EQ(invisible_reason(scene), "");
    EXPECT_EQ(parse_prompt(to_text(scene)).scene, scene);
    seen.insert(combination(scene));
    ++relations[scene.second->relation];
    sizes += (scene.first.size ? 1 : 0) + (scene.second->object.size ? 1 : 0);
    backgrounds += scene.background ? 1 : 0;
  }
  EXPECT_EQ(seen.size(), 200U);
  for (const auto& [relation, count] : relations) EXPECT_EQ(count, 40) << name(relation);
  EXPECT_NEAR(sizes, 200, 50);
  EXPECT_NEAR(backgrounds, 100, 35);
  EXPECT_EQ(sample_held_out(2000, 1).size(), 2000U);
  EXPECT_TRUE(sample_held_out(0, 1).empty());
}

TEST(HeldOut, SingleObjects) {
  const std::vector<Scene> sample = sample_single(80, 3);
  std::map<std::string, int> seen;
  for (const Scene& scene : sample) {
    EXPECT_FALSE(scene.second);
    EXPECT_EQ(invisible_reason(scene), "");
    ++seen[std::string(name(scene.first.colour)) + std::string(name(scene.first.shape))];
  }
  EXPECT_EQ(seen.size(), 40U);
  for (const auto& [object, count] : seen) EXPECT_EQ(count, 2) << object;
}

}  // namespace
