// The language of the shapes model:
//   object [relation object] [on [a|an] colour background]
//   object   = [a|an] [small|medium|large] colour shape
//   relation = above | below | left of | right of | inside          (the first object is above, below, ... the second)
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aulos/core/error.hpp"

namespace aulos_examples {

enum class Size { small, medium, large };
enum class Colour { red, green, blue, yellow, orange, purple, white, black };
enum class Shape { circle, square, triangle, star, cross };
enum class Relation { above, below, left_of, right_of, inside };

inline constexpr std::array<std::string_view, 3> kSizes = {"small", "medium", "large"};
inline constexpr std::array<std::string_view, 8> kColours = {"red",    "green",  "blue",  "yellow",
                                                             "orange", "purple", "white", "black"};
inline constexpr std::array<std::string_view, 5> kShapes = {"circle", "square", "triangle", "star", "cross"};
inline constexpr std::array<std::string_view, 5> kRelations = {"above", "below", "left of", "right of", "inside"};

constexpr std::string_view name(Size size) { return kSizes[static_cast<std::size_t>(size)]; }
constexpr std::string_view name(Colour colour) { return kColours[static_cast<std::size_t>(colour)]; }
constexpr std::string_view name(Shape shape) { return kShapes[static_cast<std::size_t>(shape)]; }
constexpr std::string_view name(Relation relation) { return kRelations[static_cast<std::size_t>(relation)]; }

struct Object {
  std::optional<Size> size;
  Colour colour{};
  Shape shape{};
  friend bool operator==(const Object&, const Object&) = default;
};

struct RelatedObject {
  Relation relation{};  // of the first object to this one
  Object object;
  friend bool operator==(const RelatedObject&, const RelatedObject&) = default;
};

// What a prompt asks for; what it leaves out is drawn at random.
struct Scene {
  Object first;
  std::optional<RelatedObject> second;
  std::optional<Colour> background;
  friend bool operator==(const Scene&, const Scene&) = default;
};

struct Prompt {
  std::vector<std::string> words;  // as written, in lower case: the tokens of the text encoder
  Scene scene;
};

// A prompt outside the language: one line that names the word, its position (from 1) and what is expected.
class PromptError : public aulos::Error {
 public:
  using Error::Error;
};

// Letter case and the amount of white space don't matter; a wrong article ("a orange star") is accepted.
Prompt parse_prompt(std::string_view text);

// The scene in full sentences with the right articles: "a red circle above a small blue square on an orange
// background".
std::string to_text(const Scene& scene);

// Why a scene of the language can't be seen in a picture (an object in the background's colour, or inside another of
// its own colour), as a line for the user; empty if it can. The training pictures hold no such scene.
std::string invisible_reason(const Scene& scene);

// Word -> index in the checkpoint's list, which also holds "<pad>" and "<bos>".
class Vocabulary {
 public:
  explicit Vocabulary(std::vector<std::string> words);  // ConfigError on a duplicate or without the two marks

  // The two marks, then every word of the language.
  static Vocabulary of_the_language();

  std::size_t size() const { return words_.size(); }
  const std::vector<std::string>& words() const { return words_; }

  // <bos>, the words, then <pad> up to `length`. ConfigError for a word that the list lacks or a prompt that is too
  // long. No words at all give the null prompt of guidance.
  std::vector<std::int64_t> encode(const std::vector<std::string>& words, std::size_t length) const;

 private:
  std::optional<std::int64_t> find(std::string_view word) const;

  std::vector<std::string> words_;
  std::int64_t pad_ = 0, bos_ = 0;
};

// Training never draws a combination "colour shape relation colour shape" whose hash is divisible by 10.
constexpr std::uint64_t fnv1a64(std::string_view bytes) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211U;
  return hash;
}
std::string combination(const Scene& scene);  // empty for a single object
bool held_out(const Scene& scene);

// All held-out combinations that can be seen, without sizes and background, in the order of the enumerations above.
std::vector<Scene> held_out_scenes();

// `count` held-out scenes: the relations in turn, no combination twice before all of its relation were used; each size
// and the background are named in half of the scenes, as in training.
std::vector<Scene> sample_held_out(std::size_t count, std::uint64_t seed);

// `count` scenes of one object, sizes and background as above.
std::vector<Scene> sample_single(std::size_t count, std::uint64_t seed);

}  // namespace aulos_examples
