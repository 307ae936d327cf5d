// tutorial: the model of docs/tutorial.md, as a user would add a model of theirs.
#include "../../docs/tutorial/pair_model.hpp"
#include "verify/families.hpp"

namespace verify {

namespace {

void pair_model(aulos::Case& c) {
  const auto field = [&](const char* name) { return c.config().get<aulos::Index>(name); };
  const auto& model = c.module<tutorial::PairModel<float>>(tutorial::PairConfig{.video_in = field("video_in"),
                                                                                .audio_in = field("audio_in"),
                                                                                .video = field("video"),
                                                                                .audio = field("audio"),
                                                                                .cond = field("cond"),
                                                                                .heads = field("heads"),
                                                                                .head_dim = field("head_dim"),
                                                                                .depth = field("depth")});
  const auto y = model(c.context(), c.input<3>("video"), c.input<3>("audio"), c.input<1>("t"));
  c.output("video", y[0]);
  c.output("audio", y[1]);
}

}  // namespace

void add_tutorial(aulos::Registry& registry) { registry.add("tutorial.pair_model", pair_model); }

}  // namespace verify
