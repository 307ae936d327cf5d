// How a model finds its configuration: from the caller, the checkpoint's metadata, or the shapes of its tensors.
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/safetensors.hpp"

namespace aulos::inline AULOS_ISA::models {

template <class Config>
struct ModelLoadOptions {
  std::string prefix = {};  // the subtree to load; what lies outside it is ignored
  bool allow_unexpected = false;
  io::Mode mode = io::Mode::read;
  std::optional<Config> config = {};  // overrides the file's
  std::optional<Numeric> pack = {};   // pack each weight while it is read: never are all rows in memory
  int threads = 0;                    // that read, convert and pack; 0: as many as a Context would have

  io::LoadOptions of_parameters() const { return of_parameters(prefix); }
  io::LoadOptions of_parameters(const std::string& below) const {
    return {.prefix = below, .allow_unexpected = allow_unexpected, .pack = pack, .threads = threads};
  }
};

// Refuses a configuration of more blocks than the file has tensors before anything is built by it: a few digits of a
// hostile file would otherwise take all memory.
template <class Config>
const Config& fitting(const Config& config, const io::Checkpoint& checkpoint) {
  const std::size_t tensors = checkpoint.tensors().size();
  if (config.blocks() > static_cast<double>(tensors))
    throw ConfigError(concat_text({checkpoint.path(), ": the configuration has ", static_cast<Index>(config.blocks()),
                                   " blocks, more than the file's ", static_cast<Index>(tensors), " tensors"}));
  return config;
}

// The configuration in the metadata, `config`, if there is one.
template <class Config>
std::optional<Config> config_in_metadata(const io::Checkpoint& checkpoint) {
  const std::string* config = checkpoint.metadata().find("config");
  if (config == nullptr) return {};
  return fitting(Config::from_json(io::json::parse(*config)), checkpoint);
}

// diffusers' names, or those of the file that the model was published in.
enum class CheckpointLayout { diffusers, single_file };

struct CheckpointSource {
  CheckpointLayout layout = CheckpointLayout::diffusers;
  std::string prefix;
};

// Which layout lies below `prefix`, told by a name that only the single file has; without a prefix also below the one
// that all-in-one files have.
inline CheckpointSource checkpoint_source(const io::Checkpoint& checkpoint, const std::string& prefix,
                                          const std::string& single_file_name) {
  for (const std::string& below : {prefix, prefix.empty() ? std::string("model.diffusion_model.") : prefix})
    if (checkpoint.find(below + single_file_name) != nullptr) return {CheckpointLayout::single_file, below};
  return {CheckpointLayout::diffusers, prefix};
}

// Shapes by name, for reading a configuration off them. ConfigError names the field that stays open.
class CheckpointShapes {
 public:
  CheckpointShapes(const char* model, const io::Checkpoint& checkpoint, std::string prefix)
      : model_(model), checkpoint_(checkpoint), prefix_(std::move(prefix)) {}

  bool has(const std::string& name) const { return checkpoint_.find(prefix_ + name) != nullptr; }

  Index extent(const std::string& name, std::size_t axis, const char* field) const {
    const io::TensorInfo* info = checkpoint_.find(prefix_ + name);
    if (info == nullptr || info->shape.size() <= axis) open(field, "it has no " + io::quote(prefix_ + name));
    return info->shape[axis];
  }

  // How many of `before`0`after`, `before`1`after`, .. there are.
  Index count(const std::string& before, const std::string& after) const {
    Index n = 0;
    while (has(concat_text({before, n, after}))) ++n;
    return n;
  }

  [[noreturn]] void open(const char* field, const std::string& reason) const {
    throw ConfigError(std::string(model_) + ": can't tell " + field + " from " + checkpoint_.path() + ": " + reason +
                      "; give a config");
  }

 private:
  const char* model_;
  const io::Checkpoint& checkpoint_;
  std::string prefix_;
};

// The side of a square, or 0.
inline Index square_side(Index area) {
  const Index side = static_cast<Index>(std::llround(std::sqrt(static_cast<double>(area < 0 ? 0 : area))));
  return side * side == area ? side : 0;
}

// A ratio with int(width * ratio) = hidden: the quotient, or its neighbour where that rounds down.
inline double mlp_ratio(Index hidden, Index width) {
  const double ratio = static_cast<double>(hidden) / static_cast<double>(width < 1 ? 1 : width);
  return static_cast<Index>(static_cast<double>(width) * ratio) < hidden ? std::nextafter(ratio, 1e300) : ratio;
}

}  // namespace aulos::inline AULOS_ISA::models
