#include "inspect/recognise.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace inspect {

namespace {

using aulos::io::Checkpoint;
using aulos::io::TensorInfo;

constexpr int deepest_prefix = 8;  // parts of a name
constexpr std::size_t prefixes_of_layout = 4;

// For each layout the prefixes below which most of its names are, the best first.
std::vector<std::vector<std::string>> find_prefixes(const Layouts& layouts, const Checkpoint& checkpoint) {
  std::unordered_map<std::string_view, std::vector<std::size_t>> layouts_of_name;
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    for (const Description& variant : layouts[i].published) {
      for (const auto& want : variant.wanted) {
        auto& known = layouts_of_name[want.name];
        if (known.empty() || known.back() != i) known.push_back(i);
      }
    }
  }
  std::vector<std::map<std::string_view, Index>> counts(layouts.size());
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    std::size_t begin = 0;
    for (int level = 0; level <= deepest_prefix; ++level) {
      const auto known = layouts_of_name.find(tensor.name.substr(begin));
      if (known != layouts_of_name.end())
        for (const std::size_t i : known->second) ++counts[i][tensor.name.substr(0, begin)];
      begin = tensor.name.find('.', begin) + 1;
      if (begin == 0) break;
    }
  }
  std::vector<std::vector<std::string>> prefixes(layouts.size());
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    std::vector<std::pair<std::string_view, Index>> found(counts[i].begin(), counts[i].end());
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    for (std::size_t k = 0; k < std::min(found.size(), prefixes_of_layout); ++k)
      if (2 * found[k].second >= found[0].second) prefixes[i].emplace_back(found[k].first);
  }
  return prefixes;
}

// How a description fits what lies below the prefix.
Part compare(const Layout& layout, Description description, const Checkpoint& checkpoint, const std::string& prefix) {
  Part part;
  part.prefix = prefix;
  part.layout = &layout;
  part.description = std::move(description);
  for (const TensorInfo& tensor : checkpoint.tensors()) part.tensors += tensor.name.substr(0, prefix.size()) == prefix;
  Index missing = 0, in_file = 0;
  for (const auto& want : part.description.wanted) {
    const TensorInfo* info = checkpoint.find(prefix + want.name);
    const bool required = want.presence == aulos::io::Presence::required;
    part.wanted += required;
    missing += required && info == nullptr;
    if (info == nullptr) continue;
    ++in_file;
    part.found += required;
    const bool fits = std::equal(want.shape.begin(), want.shape.end(), info->shape.begin(), info->shape.end()) &&
                      aulos::is_convertible(info->dtype);
    part.fitting += required && fits;
    missing += !fits;
  }
  part.loads = missing == 0 && in_file == part.tensors;
  return part;
}

// The share that both have of what either has.
double likeness(const Part& part) {
  return static_cast<double>(part.fitting) / static_cast<double>(part.wanted + part.tensors - part.found);
}

// A model of another size has the names and not the shapes, so both count.
bool is_nearer(const Part& a, const Part& b) {
  if (a.loads != b.loads) return a.loads;
  const auto of_names = [](const Part& part) {
    return static_cast<double>(part.found) / static_cast<double>(part.wanted + part.tensors - part.found);
  };
  const double x = likeness(a) + of_names(a), y = likeness(b) + of_names(b);
  return x != y ? x > y : a.fitting > b.fitting;
}

// The published name of a configuration whose tensors are those of a variant.
void name_variant(const Layout& layout, Description& description) {
  const auto same = [&](const Description& variant) {
    return std::equal(variant.wanted.begin(), variant.wanted.end(), description.wanted.begin(),
                      description.wanted.end(),
                      [](const auto& a, const auto& b) { return a.name == b.name && a.shape == b.shape; });
  };
  for (const Description& variant : layout.published)
    if (description.variant.empty() && same(variant)) description.variant = variant.variant;
}

Part best_of(const Layout& layout, const Checkpoint& checkpoint, const std::string& prefix,
             const std::optional<aulos::io::json::Value>& config) {
  std::optional<Part> best;
  std::string open;
  const auto consider = [&](Description description) {
    name_variant(layout, description);
    Part part = compare(layout, std::move(description), checkpoint, prefix);
    if (!best || is_nearer(part, *best)) best = std::move(part);
  };
  // What is said of the configuration comes before what the shapes tell, and both before the published variants.
  try {
    if (config) consider(layout.of_json(*config, checkpoint));
  } catch (const aulos::Error&) {  // of another system
  }
  try {
    if (!best || !best->loads) consider(layout.of_checkpoint(checkpoint, prefix));
  } catch (const aulos::Error& error) {
    open = error.what();
  }
  for (const Description& variant : layout.published)
    if (!best || !best->loads) consider(variant);
  best->open = open;
  return *best;
}

bool is_inside(const std::string& prefix, const std::string& outer) {
  return prefix.compare(0, outer.size(), outer) == 0;
}

}  // namespace

Recognition recognise(const Layouts& layouts, const Checkpoint& checkpoint,
                      const std::optional<aulos::io::json::Value>& config) {
  Recognition recognition;
  const auto metadata = [&](const char* key) {
    const std::string* found = checkpoint.metadata().find(key);
    return found == nullptr ? std::string() : *found;
  };
  if (metadata("format") == "golden-1") {
    recognition.golden = metadata("system");
    return recognition;
  }
  std::vector<Part> candidates;
  const auto prefixes = find_prefixes(layouts, checkpoint);
  for (std::size_t i = 0; i < layouts.size(); ++i)
    for (const std::string& prefix : prefixes[i]) candidates.push_back(best_of(layouts[i], checkpoint, prefix, config));

  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Part& a, const Part& b) { return a.loads && (!b.loads || a.tensors > b.tensors); });
  for (Part& part : candidates) {
    if (!part.loads) break;
    const auto overlaps = [&](const Part& other) {
      return is_inside(part.prefix, other.prefix) || is_inside(other.prefix, part.prefix);
    };
    const auto& parts = recognition.parts;
    if (std::none_of(parts.begin(), parts.end(), overlaps)) recognition.parts.push_back(std::move(part));
  }
  recognition.others = static_cast<Index>(checkpoint.tensors().size());
  for (const Part& part : recognition.parts) recognition.others -= part.tensors;
  if (!recognition.parts.empty()) return recognition;

  std::stable_sort(candidates.begin(), candidates.end(), is_nearer);
  for (Part& part : candidates) {
    const auto same = [&](const Part& other) { return other.layout->system == part.layout->system; };
    auto& nearest = recognition.nearest;
    if (10 * part.found >= part.wanted && std::none_of(nearest.begin(), nearest.end(), same))
      nearest.push_back(std::move(part));
  }
  if (!recognition.nearest.empty()) {
    const Part& part = recognition.nearest.front();
    const std::vector<aulos::io::WantedTensor>& wanted = part.description.wanted;
    recognition.difference = aulos::io::compare({wanted.data(), wanted.size()}, checkpoint, {.prefix = part.prefix});
  }
  return recognition;
}

}  // namespace inspect
