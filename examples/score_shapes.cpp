// Draws prompts that the model never met in training and scores the pictures by geometry (common/score.hpp).
//
//     score_shapes --prompts 200
//     score_shapes --prompts 10 --steps 8 --least-colour 90
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "aulos/core/context.hpp"
#include "common/cli.hpp"
#include "common/picture.hpp"
#include "common/progress.hpp"
#include "common/prompt.hpp"
#include "common/scenes.hpp"
#include "common/score.hpp"
#include "common/score_report.hpp"
#include "common/shapes_model.hpp"

namespace {

using namespace aulos_examples;

struct Options {
  int prompts = 200;
  int threads = 0;
  std::string weights, sheet;
  bool single = false, json = false;
  std::uint64_t seed = 0;
  DrawOptions draw;
  double least_colour = 0, least_shape = 0, least_relation = 0;
};

// As large as the pictures whose sizes the scorer knows: one of a smaller model is enlarged.
Image draw(const ShapesModel& model, aulos::Context& context, const Prompt& prompt, const DrawOptions& options) {
  const int side = static_cast<int>(model.side());
  const Image image = image_from_planes(model.draw(context, prompt, options), side, side);
  return side == kSceneSide ? image : resample(image, kSceneSide, kSceneSide);
}

// The picture with its prompt; a wrong one in red.
Image labelled(const Image& image, const std::string& text, bool correct) {
  constexpr int kScale = 4, kLine = 10, kCharacters = 42;
  const Image large = enlarge(image, kScale);
  Image cell(large.width(), large.height() + 2 * kLine, {24, 24, 24});
  paste(large, 0, 0, cell);
  const Rgb ink = correct ? Rgb{220, 220, 220} : Rgb{255, 90, 90};
  for (int line = 0; line < 2; ++line) {
    const std::size_t from = std::min(text.size(), static_cast<std::size_t>(line * kCharacters));
    draw_text(text.substr(from, kCharacters), 0, large.height() + line * kLine + 2, ink, 1, cell);
  }
  return cell;
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

int score_model(const Options& options) {
  if (!options.sheet.empty()) check_png_output(options.sheet);
  const ShapesModel model = ShapesModel::load(options.weights);
  aulos::Context context({.threads = options.threads});
  const auto count = static_cast<std::size_t>(options.prompts);
  const std::vector<Scene> scenes =
      options.single ? sample_single(count, options.seed) : sample_held_out(count, options.seed);
  Score total;
  std::vector<Image> cells;
  {
    Progress progress("scoring", options.prompts);
    for (std::size_t i = 0; i < scenes.size(); ++i) {
      const std::string text = to_text(scenes[i]);
      DrawOptions draw_options = options.draw;
      draw_options.seed = options.seed + i;
      const Image image = draw(model, context, parse_prompt(text), draw_options);
      const Sighting seen = look_at(image);
      const Score score = judge(seen, scenes[i]);
      total += score;
      if (options.json) print(prompt_json(text, draw_options.seed, seen, score) + '\n');
      if (!options.sheet.empty()) cells.push_back(labelled(image, text, score.prompt.right == score.prompt.asked));
      progress.step();
    }
  }
  print(options.json ? total_json(total) + '\n' : accuracy_table(total));
  if (!options.sheet.empty()) write_png(options.sheet, grid(cells, 10));
  const bool reached = total.colour.percent() >= options.least_colour && total.shape.percent() >= options.least_shape &&
                       (options.single || total.relation.percent() >= options.least_relation);
  return reached ? kSuccess : kFailure;
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* problem = aulos::unsupported_processor()) return report("score_shapes", problem);
  Options options;
  options.weights = find_data(argv[0], "examples/weights/shapes.safetensors").string();
  CLI::App app(
      "Draws prompts that the model never met in training and scores colour, shape and relation by geometry.\n"
      "Exit status: 0, 1 if a --least-... is missed, 2 on an error.",
      "score_shapes");
  add_number(app, "--prompts", options.prompts, 1, 100000, "how many prompts");
  add_number(app, "--steps", options.draw.steps, 0, 1000, "sampling steps; 0: the checkpoint's own");
  add_number(app, "--guidance", options.draw.guidance, 0, 50, "strength of the prompt; 0: the checkpoint's own");
  add_number(app, "--seed", options.seed, 0, std::numeric_limits<std::uint64_t>::max(),
             "chooses prompts and noise; prompt i is drawn with seed + i");
  add_number(app, "--threads", options.threads, 0, 1024, "threads; 0: all processors");
  app.add_option("--weights", options.weights, "checkpoint")->type_name("FILE")->capture_default_str();
  app.add_option("--sheet", options.sheet, "also write all pictures with their prompts to this PNG")->type_name("FILE");
  app.add_flag("--single", options.single, "prompts of one object, which training does not hold out");
  app.add_flag("--json", options.json, "one JSON object a line: each prompt, then the total");
  add_number(app, "--least-colour", options.least_colour, 0, 100, "per cent that must be reached");
  add_number(app, "--least-shape", options.least_shape, 0, 100, "per cent that must be reached");
  add_number(app, "--least-relation", options.least_relation, 0, 100, "per cent that must be reached");
  return run_program(app, argc, argv, [&] { return score_model(options); });
}
