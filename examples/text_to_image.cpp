// text_to_image: draws the picture of a prompt.
//
//     text_to_image "a red circle above a blue square" --out picture.png
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "aulos/core/context.hpp"
#include "common/cli.hpp"
#include "common/picture.hpp"
#include "common/progress.hpp"
#include "common/prompt.hpp"
#include "common/shapes_model.hpp"

namespace {

using namespace aulos_examples;

struct Options {
  std::string prompt;
  std::string out = "picture.png";
  std::string weights;
  std::string attention_map;
  std::string sampler = "euler";
  std::uint64_t seed = 0;
  aulos::Index steps = 0;
  double guidance = 0;
  int threads = 0;
  int count = 1;
  bool profile = false;
};

void print_profile(const std::vector<aulos::ProfileRecord>& records) {
  const auto rows = aulos::summarise(records);
  double total = 0;
  for (const auto& row : rows) total += row.seconds;
  std::printf("%-32s %8s %10s %10s %10s %7s\n", "operation", "calls", "ms", "GFLOP/s", "GB/s", "share");
  for (const auto& row : rows) {
    const double seconds = std::max(row.seconds, 1e-12);
    const auto number = [](double x, int decimals) { return format_number(x, decimals); };
    std::printf("%-32s %8lld %10s %10s %10s %6s%%\n", std::string(row.operation).c_str(),
                static_cast<long long>(row.calls), number(1e3 * row.seconds, 1).c_str(),
                number(1e-9 * row.flops / seconds, 1).c_str(), number(1e-9 * row.bytes / seconds, 1).c_str(),
                number(100 * row.seconds / std::max(total, 1e-12), 1).c_str());
  }
}

int run(const Options& options) {
  const Prompt prompt = parse_prompt(options.prompt);
  if (const std::string reason = invisible_reason(prompt.scene); !reason.empty())
    std::fprintf(stderr, "text_to_image: note: %s\n", reason.c_str());
  check_png_output(options.out);
  if (!options.attention_map.empty()) check_png_output(options.attention_map);
  const ShapesModel model = ShapesModel::load(options.weights);
  const int side = static_cast<int>(model.side());

  aulos::Context context({.threads = options.threads});
  if (options.profile) context.start_profile();
  DrawOptions draw{.steps = options.steps, .guidance = options.guidance};
  draw.sampler = options.sampler == "euler" ? Sampler::euler : Sampler::dpmpp_2m;
  const aulos::Index steps = options.steps > 0 ? options.steps : model.default_steps();
  std::vector<std::vector<float>> pictures;
  std::vector<Image> images;
  {
    Progress progress("drawing", steps * options.count);
    draw.on_step = [&](aulos::Index) { progress.step(); };
    for (int i = 0; i < options.count; ++i) {
      draw.seed = options.seed + static_cast<std::uint64_t>(i);
      pictures.push_back(model.draw(context, prompt, draw));
      images.push_back(enlarge(image_from_planes(pictures.back(), side, side), 4));
    }
  }
  if (options.profile) print_profile(context.stop_profile());
  int columns = 1;
  while (columns * columns < options.count) ++columns;
  write_png(options.out, options.count == 1 ? images[0] : grid(images, columns));
  std::printf("%s\n", options.out.c_str());
  if (!options.attention_map.empty()) {
    const auto maps = model.attention_maps(context, prompt, pictures[0], options.seed);
    const int tokens = static_cast<int>(model.grid_side());
    write_png(options.attention_map,
              attention_sheet(image_from_planes(pictures[0], side, side), options.prompt, maps, tokens, tokens));
    std::printf("%s\n", options.attention_map.c_str());
  }
  return kSuccess;
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* problem = aulos::unsupported_processor()) return report("text_to_image", problem);
  CLI::App app("Draws the picture of a prompt such as \"a red circle above a blue square\".", "text_to_image");
  Options options;
  options.weights = find_data(argv[0], "examples/weights/shapes.safetensors").string();
  app.add_option("prompt", options.prompt,
                 "[a] [size] colour shape [above|below|left of|right of|inside [a] [size] colour shape] "
                 "[on a colour background]")
      ->required();
  app.add_option("--out", options.out, "the PNG to write")->capture_default_str();
  app.add_option("--weights", options.weights, "the checkpoint")->type_name("FILE");
  app.add_option("--sampler", options.sampler)->check(CLI::IsMember({"euler", "dpmpp_2m"}))->capture_default_str();
  app.add_option("--attention-map", options.attention_map, "a PNG that shows where the picture looks for each word")
      ->type_name("FILE");
  add_number(app, "--seed", options.seed, std::uint64_t{0}, ~std::uint64_t{0}, "of the noise");
  add_number(app, "--steps", options.steps, aulos::Index{0}, aulos::Index{1000}, "0: the checkpoint's");
  add_number(app, "--guidance", options.guidance, 0.0, 100.0, "0: the checkpoint's");
  add_number(app, "--threads", options.threads, 0, 1024, "0: as many as there are");
  add_number(app, "--count", options.count, 1, 64, "pictures, as a grid; seeds follow each other");
  app.add_flag("--profile", options.profile, "print what each operation cost");
  return run_program(app, argc, argv, [&] { return run(options); });
}
