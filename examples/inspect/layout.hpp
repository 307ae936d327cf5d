// What `inspect` knows of a system: the tensors of each of its configurations, as each way of storing them names them,
// and what a forward pass costs. A system is one source file that adds its layouts (families.hpp).
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "aulos/core/context.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/json.hpp"
#include "aulos/io/load_report.hpp"
#include "aulos/models/checkpoint_shapes.hpp"
#include "aulos/nn/load.hpp"
#include "aulos/nn/plan.hpp"

namespace inspect {

using aulos::Index;

// The forward pass to plan. 0: the system's own.
struct Request {
  Index batch = 1;
  Index height = 0, width = 0;  // pixels
  Index tokens = 0;             // of the text
  Index samples = 0;            // of audio
};

struct Planned {
  std::string inputs;  // "1024 x 1024 pixels, 512 text tokens, batch 1"
  aulos::Plan plan;
};

// One configuration of a system, as a layout stores it.
struct Description {
  std::string variant;  // the published name, or nothing
  std::string config;   // JSON
  std::vector<aulos::io::WantedTensor> wanted;
  std::function<Planned(const Request&)> plan;
};

struct Layout {
  std::string system;                  // "flux"
  std::string names;                   // whose they are: "diffusers' names"
  std::vector<Description> published;  // its variants
  // The configuration of what lies below a prefix; an aulos::Error where it stays open.
  std::function<Description(const aulos::io::Checkpoint&, const std::string& prefix)> of_checkpoint;
  // The same of a config.json beside it.
  std::function<Description(const aulos::io::json::Value&, const aulos::io::Checkpoint&)> of_json;
};

using Layouts = std::vector<Layout>;

// A layout of a Model whose Config has to_json(), with the functions that differ between systems.
template <class Model, class Config = typename Model::Config>
struct LayoutOf {
  const char* system;
  const char* names;
  std::vector<std::pair<const char*, Config>> published;
  Config (*of_checkpoint)(const aulos::io::Checkpoint&, const std::string& prefix);
  // Where the layout keeps a parameter; a place without a name: in another file.
  aulos::nn::StoredAs (*stored_as)(const std::string& name, const Config&);
  // Calls the model with inputs of the requested size and says which.
  std::string (*forward)(aulos::Context& dry, const Model&, const Request&);
};

inline aulos::nn::StoredAs as_named(const std::string& name) { return {.name = name}; }

// "batch 1" and the like; a request is refused where a model can't have it.
inline Index multiple_of(Index divisor, Index value, const char* what) {
  if (value % divisor == 0) return value;
  throw aulos::ShapeError(std::string(what) + " is " + std::to_string(value) + ", expected a multiple of " +
                          std::to_string(divisor));
}

// The tensors that a checkpoint of `model` holds, each stored one once.
template <class Model, class StoredAs>
std::vector<aulos::io::WantedTensor> stored_tensors(const Model& model, const StoredAs& stored_as) {
  aulos::nn::LoadPlan plan;
  aulos::nn::for_each_parameter(model, [&](const auto& parameter) {
    aulos::nn::StoredAs place = stored_as(parameter.name);
    if (!place.name.empty()) plan.add(std::move(place), parameter.shape, parameter.role);
  });
  return std::move(plan.wanted);
}

// Models are made from their configuration alone and own no memory, whatever their size.
template <class Model, class Config>
Description describe(const LayoutOf<Model, Config>& layout, const Config& config, std::string variant = {}) {
  const auto place = [&](const std::string& name) { return layout.stored_as(name, config); };
  const auto plan = [config, forward = layout.forward](const Request& request) {
    const Model model(config);
    Planned planned;
    planned.plan = aulos::nn::plan(model, [&](aulos::Context& dry) { planned.inputs = forward(dry, model, request); });
    return planned;
  };
  return {std::move(variant), config.to_json(), stored_tensors(Model(config), place), plan};
}

template <class Model, class Config = typename Model::Config>
void add(Layouts& layouts, const LayoutOf<Model, Config>& layout) {
  Layout added{.system = layout.system, .names = layout.names, .published = {}, .of_checkpoint = {}, .of_json = {}};
  for (const auto& [name, config] : layout.published) added.published.push_back(describe(layout, config, name));
  const auto checked = [layout](const Config& config, const aulos::io::Checkpoint& checkpoint) {
    return describe(layout, aulos::models::fitting(config, checkpoint));
  };
  added.of_checkpoint = [layout, checked](const aulos::io::Checkpoint& checkpoint, const std::string& prefix) {
    return checked(layout.of_checkpoint(checkpoint, prefix), checkpoint);
  };
  added.of_json = [checked](const aulos::io::json::Value& json, const aulos::io::Checkpoint& checkpoint) {
    return checked(Config::from_json(json), checkpoint);
  };
  layouts.push_back(std::move(added));
}

}  // namespace inspect
