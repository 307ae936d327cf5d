// What SepFormer and DPRNN share: SpeechBrain's names, in one file or with the mask network in a file of its own.
#pragma once

#include <string>

#include "aulos/models/sepformer.hpp"
#include "inspect/families.hpp"

namespace inspect {

template <class Separator>
std::string separator_forward(aulos::Context& dry, const Separator& model, const Request& request) {
  const Index samples = request.samples > 0 ? request.samples : 32000;  // 4 s at 8 kHz
  model(dry, dry.template empty<float>(aulos::Shape<2>{request.batch, samples}));
  return aulos::concat_text({samples, " samples, batch ", request.batch});
}

template <class Separator>
void add_separator(Layouts& layouts, const std::vector<std::pair<const char*, typename Separator::Config>>& published) {
  using Config = typename Separator::Config;
  LayoutOf<Separator> layout{
      .system = Config::name,
      .names = "SpeechBrain's names",
      .published = published,
      .of_checkpoint =
          [](const aulos::io::Checkpoint& checkpoint, const std::string& prefix) {
            return aulos::models::separator_config<Config>({Config::name, checkpoint, prefix});
          },
      .stored_as = [](const std::string& name, const Config&) { return as_named(name); },
      .forward = separator_forward<Separator>,
  };
  add(layouts, layout);
  layout.names = "SpeechBrain's names, the mask network of three files";
  layout.of_checkpoint = [](const aulos::io::Checkpoint& checkpoint, const std::string&) -> Config {
    if (const auto config = aulos::models::config_in_metadata<Config>(checkpoint)) return *config;
    throw aulos::ConfigError(std::string(Config::name) + ": the mask network alone does not tell the encoder's kernel");
  };
  layout.stored_as = [](const std::string& name, const Config&) {
    const std::string part = "masknet.";
    return as_named(name.compare(0, part.size(), part) == 0 ? name.substr(part.size()) : "");
  };
  add(layouts, layout);
}

}  // namespace inspect
