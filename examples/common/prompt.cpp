#include "prompt.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace aulos_examples {
namespace {

constexpr std::array<std::string_view, 9> kOtherWords = {"a",     "an", "above",  "below", "left",
                                                         "right", "of", "inside", "on"};
constexpr std::string_view kBackground = "background";

// Every word of the language, each once.
template <class Visit>
void for_each_word(const Visit& visit) {
  for (const std::string_view word : kSizes) visit(word);
  for (const std::string_view word : kColours) visit(word);
  for (const std::string_view word : kShapes) visit(word);
  for (const std::string_view word : kOtherWords) visit(word);
  visit(kBackground);
}

bool known(std::string_view word) {
  bool found = false;
  for_each_word([&](std::string_view candidate) { found = found || candidate == word; });
  return found;
}

constexpr bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  bool inside_word = false;
  for (const char c : text) {
    if (is_space(c)) {
      inside_word = false;
      continue;
    }
    if (!inside_word) words.emplace_back();
    inside_word = true;
    words.back() += lower(c);
  }
  return words;
}

// Fewest insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

std::string nearest_word(std::string_view word) {
  word = word.substr(0, 32);
  std::string_view best;
  std::size_t least = 0;
  for_each_word([&](std::string_view candidate) {
    const std::size_t distance = edit_distance(word, candidate);
    if (!best.empty() && distance >= least) return;
    best = candidate;
    least = distance;
  });
  return std::string(best);
}

// A user's word inside a message: short and without control characters.
std::string quote(std::string_view word) {
  constexpr std::size_t kLongest = 40;
  std::string shown = "'";
  for (const char c : word.substr(0, kLongest)) shown += (c >= 0 && c < ' ') || c == 127 ? '?' : c;
  return shown + (word.size() > kLongest ? "...'" : "'");
}

template <std::size_t Count>
std::string listed(const std::array<std::string_view, Count>& words) {
  std::string text;
  for (const std::string_view word : words) text += (text.empty() ? "" : ", ") + std::string(word);
  return text;
}

class Parser {
 public:
  explicit Parser(const std::vector<std::string>& words) : words_(words) {}

  Scene scene() {
    Scene scene;
    scene.first = object();
    if (const auto relation = accept_relation()) scene.second = RelatedObject{*relation, object()};
    if (accept("on")) {
      accept_article();
      scene.background = require<Colour>(kColours, "a background colour");
      if (!accept(kBackground)) fail("'background'");
    }
    if (at_ < words_.size()) {
      fail(scene.background ? "nothing after 'background'"
           : scene.second   ? "'on a COLOUR background' or the end"
                            : "a relation (" + listed(kRelations) + "), 'on a COLOUR background' or the end");
    }
    return scene;
  }

 private:
  bool accept(std::string_view word) {
    if (at_ == words_.size() || words_[at_] != word) return false;
    ++at_;
    return true;
  }

  void accept_article() { accept("a") || accept("an"); }

  template <class Enum, std::size_t Count>
  std::optional<Enum> accept_one(const std::array<std::string_view, Count>& names) {
    for (std::size_t i = 0; i < Count; ++i) {
      if (accept(names[i])) return static_cast<Enum>(i);
    }
    return std::nullopt;
  }

  template <class Enum, std::size_t Count>
  Enum require(const std::array<std::string_view, Count>& names, const std::string& what) {
    if (const auto found = accept_one<Enum>(names)) return *found;
    fail(what + " (" + listed(names) + ")");
  }

  Object object() {
    accept_article();
    Object object;
    object.size = accept_one<Size>(kSizes);
    object.colour = require<Colour>(kColours, object.size ? "a colour" : "a size or colour");
    object.shape = require<Shape>(kShapes, "a shape");
    return object;
  }

  std::optional<Relation> accept_relation() {
    if (accept("above")) return Relation::above;
    if (accept("below")) return Relation::below;
    if (accept("inside")) return Relation::inside;
    std::optional<Relation> side;
    if (accept("left")) side = Relation::left_of;
    if (!side && accept("right")) side = Relation::right_of;
    if (side && !accept("of")) fail("'of'");
    return side;
  }

  [[noreturn]] void fail(const std::string& expected) const {
    if (at_ < words_.size()) {
      throw PromptError("prompt: word " + std::to_string(at_ + 1) + " is " + quote(words_[at_]) + ", expected " +
                        expected);
    }
    throw PromptError("prompt: it ends after word " + std::to_string(at_) + " (" + quote(words_[at_ - 1]) +
                      "), expected " + expected);
  }

  const std::vector<std::string>& words_;
  std::size_t at_ = 0;
};

std::string with_article(std::string_view phrase) {
  constexpr std::string_view kVowels = "aeiou";
  return (kVowels.find(phrase.front()) == std::string_view::npos ? "a " : "an ") + std::string(phrase);
}

std::string object_text(const Object& object) {
  std::string phrase;
  if (object.size) phrase = std::string(name(*object.size)) + ' ';
  return with_article(phrase + std::string(name(object.colour)) + ' ' + std::string(name(object.shape)));
}

// SplitMix64: the same sequence on every platform, which the standard distributions don't promise.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }
  std::size_t below(std::size_t bound) { return next() % bound; }  // bias below 2^-50
  bool coin() { return (next() >> 63U) != 0; }

  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::uint64_t state_;
};

bool uses(const Scene& scene, Colour colour) {
  return scene.first.colour == colour || (scene.second && scene.second->object.colour == colour);
}

void add_details(Generator& random, Scene& scene) {
  const auto size = [&]() -> std::optional<Size> {
    if (!random.coin()) return std::nullopt;
    return static_cast<Size>(random.below(kSizes.size()));
  };
  scene.first.size = size();
  if (scene.second) scene.second->object.size = size();
  if (!random.coin()) return;
  do {
    scene.background = static_cast<Colour>(random.below(kColours.size()));
  } while (uses(scene, *scene.background));
}

}  // namespace

Prompt parse_prompt(std::string_view text) {
  Prompt prompt;
  prompt.words = split(text);
  if (prompt.words.empty()) {
    throw PromptError("prompt: it is empty, expected for example 'a red circle above a blue square'");
  }
  for (std::size_t i = 0; i < prompt.words.size(); ++i) {
    const std::string& word = prompt.words[i];
    if (known(word)) continue;
    throw PromptError("prompt: word " + std::to_string(i + 1) + " is unknown: " + quote(word) +
                      " (the nearest known word is '" + nearest_word(word) + "')");
  }
  prompt.scene = Parser(prompt.words).scene();
  return prompt;
}

std::string to_text(const Scene& scene) {
  std::string text = object_text(scene.first);
  if (scene.second) text += ' ' + std::string(name(scene.second->relation)) + ' ' + object_text(scene.second->object);
  if (scene.background) text += " on " + with_article(name(*scene.background)) + " background";
  return text;
}

std::string invisible_reason(const Scene& scene) {
  if (scene.background && uses(scene, *scene.background)) {
    return "an object has the colour of the background (" + std::string(name(*scene.background)) + ")";
  }
  if (scene.second && scene.second->relation == Relation::inside && scene.first.colour == scene.second->object.colour) {
    return "the inner and the outer object have the same colour (" + std::string(name(scene.first.colour)) + ")";
  }
  return "";
}

Vocabulary::Vocabulary(std::vector<std::string> words) : words_(std::move(words)) {
  for (std::size_t i = 0; i < words_.size(); ++i) {
    if (std::find(words_.begin(), words_.begin() + static_cast<std::ptrdiff_t>(i), words_[i]) !=
        words_.begin() + static_cast<std::ptrdiff_t>(i)) {
      throw aulos::ConfigError("vocabulary: " + quote(words_[i]) + " is listed twice");
    }
  }
  const auto mark = [&](std::string_view word) {
    if (const auto id = find(word)) return *id;
    throw aulos::ConfigError("vocabulary: expected the mark '" + std::string(word) + "', got " +
                             std::to_string(words_.size()) + " words without it");
  };
  pad_ = mark("<pad>");
  bos_ = mark("<bos>");
}

Vocabulary Vocabulary::of_the_language() {
  std::vector<std::string> words = {"<pad>", "<bos>"};
  for_each_word([&](std::string_view word) { words.emplace_back(word); });
  return Vocabulary(std::move(words));
}

std::vector<std::int64_t> Vocabulary::encode(const std::vector<std::string>& words, std::size_t length) const {
  if (words.size() + 1 > length) {
    throw aulos::ConfigError("prompt: " + std::to_string(words.size()) + " words, the text encoder takes " +
                             std::to_string(length > 0 ? length - 1 : 0));
  }
  std::vector<std::int64_t> ids(length, pad_);
  ids[0] = bos_;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto id = find(words[i]);
    if (!id) throw aulos::ConfigError("prompt: the checkpoint's vocabulary lacks " + quote(words[i]));
    ids[i + 1] = *id;
  }
  return ids;
}

std::optional<std::int64_t> Vocabulary::find(std::string_view word) const {
  const auto found = std::find(words_.begin(), words_.end(), word);
  if (found == words_.end()) return std::nullopt;
  return found - words_.begin();
}

std::string combination(const Scene& scene) {
  if (!scene.second) return "";
  std::string text;
  for (const std::string_view part : {name(scene.first.colour), name(scene.first.shape), name(scene.second->relation),
                                      name(scene.second->object.colour), name(scene.second->object.shape)}) {
    text += (text.empty() ? "" : " ") + std::string(part);
  }
  return text;
}

bool held_out(const Scene& scene) { return scene.second && fnv1a64(combination(scene)) % 10 == 0; }

std::vector<Scene> held_out_scenes() {
  std::vector<Scene> scenes;
  Scene scene;
  scene.second.emplace();
  Object &first = scene.first, &second = scene.second->object;
  for (std::size_t index = 0; index < 8 * 5 * 5 * 8 * 5; ++index) {
    std::size_t rest = index;
    const auto digit = [&](std::size_t base) { return std::exchange(rest, rest / base) % base; };
    second.shape = static_cast<Shape>(digit(kShapes.size()));
    second.colour = static_cast<Colour>(digit(kColours.size()));
    scene.second->relation = static_cast<Relation>(digit(kRelations.size()));
    first.shape = static_cast<Shape>(digit(kShapes.size()));
    first.colour = static_cast<Colour>(digit(kColours.size()));
    if (held_out(scene) && invisible_reason(scene).empty()) scenes.push_back(scene);
  }
  return scenes;
}

std::vector<Scene> sample_held_out(std::size_t count, std::uint64_t seed) {
  Generator random(seed);
  std::array<std::vector<Scene>, kRelations.size()> by_relation;
  for (const Scene& scene : held_out_scenes()) {
    by_relation[static_cast<std::size_t>(scene.second->relation)].push_back(scene);
  }
  for (auto& scenes : by_relation) random.shuffle(scenes);
  std::vector<Scene> sample;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& scenes = by_relation[i % by_relation.size()];
    sample.push_back(scenes[i / by_relation.size() % scenes.size()]);
    add_details(random, sample.back());
  }
  return sample;
}

std::vector<Scene> sample_single(std::size_t count, std::uint64_t seed) {
  Generator random(seed);
  std::vector<Scene> all, sample;
  for (std::size_t colour = 0; colour < kColours.size(); ++colour) {
    for (std::size_t shape = 0; shape < kShapes.size(); ++shape) {
      Scene& scene = all.emplace_back();
      scene.first = {std::nullopt, static_cast<Colour>(colour), static_cast<Shape>(shape)};
    }
  }
  random.shuffle(all);
  for (std::size_t i = 0; i < count; ++i) {
    sample.push_back(all[i % all.size()]);
    add_details(random, sample.back());
  }
  return sample;
}

}  // namespace aulos_examples
