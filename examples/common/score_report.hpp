// The result of scoring many prompts as text: a table for people, JSON lines for programs.
#pragma once

#include <cstdint>
#include <string>

#include "prompt.hpp"
#include "score.hpp"

namespace aulos_examples {

// "red star, blue circle on white": what was seen, in a line.
std::string to_text(const Sighting& sighting);

// Lines of attribute, right, asked, per cent; what was never asked is left out.
std::string accuracy_table(const Score& score);

// {"prompt": ..., "seed": ..., "seen": ..., "correct": ..., "colour": {"right": r, "asked": a}, ...}
std::string prompt_json(const std::string& prompt, std::uint64_t seed, const Sighting& seen, const Score& score);

// {"total": {"prompts": n, "colour": {"right": r, "asked": a, "percent": p}, ...}}
std::string total_json(const Score& score);

}  // namespace aulos_examples
