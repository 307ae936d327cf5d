#include "score_report.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "progress.hpp"

namespace aulos_examples {
namespace {

using Attribute = std::pair<std::string_view, Tally Score::*>;
constexpr std::array<Attribute, 7> kAttributes = {{{"colour", &Score::colour},
                                                   {"shape", &Score::shape},
                                                   {"relation", &Score::relation},
                                                   {"background", &Score::background},
                                                   {"size", &Score::size},
                                                   {"count", &Score::count},
                                                   {"prompt", &Score::prompt}}};

std::string padded(std::string text, std::size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

}  // namespace

std::string to_text(const Sighting& sighting) {
  std::string text;
  for (const FoundObject& object : sighting.objects) {
    text += (text.empty() ? "" : ", ") + std::string(name(object.colour)) + ' ' +
            (object.shape ? std::string(name(*object.shape)) : "something");
  }
  return (text.empty() ? "nothing" : text) + " on " + std::string(name(sighting.background));
}

std::string accuracy_table(const Score& score) {
  std::string table = "attribute    right  asked  accuracy\n";
  for (const auto& [label, tally] : kAttributes) {
    const Tally& entry = score.*tally;
    if (entry.asked == 0) continue;
    std::string line(label);
    line.resize(10, ' ');
    table += line + padded(std::to_string(entry.right), 8) + padded(std::to_string(entry.asked), 7) +
             padded(format_number(entry.percent(), 1), 8) + " %\n";
  }
  return table;
}

std::string prompt_json(const std::string& prompt, std::uint64_t seed, const Sighting& seen, const Score& score) {
  nlohmann::ordered_json line = {{"prompt", prompt}, {"seed", seed}, {"seen", to_text(seen)}};
  line["correct"] = score.prompt.right == score.prompt.asked;
  for (const auto& [label, tally] : kAttributes) {
    const Tally& entry = score.*tally;
    if (entry.asked > 0 && label != "prompt") {
      line[std::string(label)] = {{"right", entry.right}, {"asked", entry.asked}};
    }
  }
  return line.dump();
}

std::string total_json(const Score& score) {
  nlohmann::ordered_json total = {{"prompts", score.prompt.asked}};
  for (const auto& [label, tally] : kAttributes) {
    const Tally& entry = score.*tally;
    if (entry.asked == 0) continue;
    total[std::string(label)] = {{"right", entry.right}, {"asked", entry.asked}, {"percent", entry.percent()}};
  }
  return nlohmann::ordered_json{{"total", total}}.dump();
}

}  // namespace aulos_examples
