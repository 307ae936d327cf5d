#include "inspect/tree.hpp"

#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>
#include <utility>

namespace inspect {

namespace {

using aulos::io::TensorInfo;

constexpr std::size_t deepest = 32;  // levels; what is left of a longer name is the tensor's own

// A part of a name: "attn", or "12" with its number.
struct Part {
  std::string_view text;
  Index number = -1;
};

struct Entry {
  std::vector<Part> parts;
  const TensorInfo* tensor;
};

// -1 where it is no number, or not written as numbers are.
Index number_of(std::string_view text) {
  if (text.empty() || (text[0] == '0' && text.size() > 1)) return -1;
  Index number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : -1;
}

// Numbers come first, in their order.
bool is_before(const Part& a, const Part& b) {
  if (a.number >= 0 && b.number >= 0) return a.number < b.number;
  return (a.number >= 0) != (b.number >= 0) ? a.number >= 0 : a.text < b.text;
}

std::vector<Part> parts_of(std::string_view name) {
  std::vector<Part> parts;
  const auto append = [&](std::string_view part) { parts.push_back({part, number_of(part)}); };
  std::size_t dot = 0;
  while (parts.size() + 1 < deepest && (dot = name.find('.')) != std::string_view::npos) {
    append(name.substr(0, dot));
    name.remove_prefix(dot + 1);
  }
  append(name);
  return parts;
}

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15U;
  return hash ^ hash >> 29;
}

std::uint64_t mix(std::uint64_t hash, std::string_view text) {
  for (const char c : text) hash = mix(hash, static_cast<unsigned char>(c));
  return mix(hash, text.size());
}

Module leaf(std::string_view name, const TensorInfo& tensor) {
  Module module{.name = std::string(name), .modules = {}, .tensor = &tensor};
  module.tensors = 1;
  module.values = tensor.count;
  module.bytes = tensor.bytes;
  module.dtypes = std::uint32_t{1} << static_cast<unsigned>(tensor.dtype);
  module.fingerprint = mix(1, static_cast<std::uint64_t>(tensor.dtype));
  for (const Index extent : tensor.shape)
    module.fingerprint = mix(module.fingerprint, static_cast<std::uint64_t>(extent));
  return module;
}

// Runs of equal modules whose names are numbers become one each.
void fold(std::vector<Module>& modules) {
  std::vector<Module> folded;
  std::string first;
  for (Module& module : modules) {
    const bool joins = !folded.empty() && module.tensor == nullptr && folded.back().tensor == nullptr &&
                       number_of(module.name) >= 0 && number_of(first) >= 0 &&
                       folded.back().fingerprint == module.fingerprint;
    if (joins) {
      ++folded.back().repeat;
      folded.back().name = first + " .. " + module.name;
    } else {
      first = module.name;
      folded.push_back(std::move(module));
    }
  }
  modules = std::move(folded);
}

Module build(std::string_view name, std::span<const Entry> entries, std::size_t level, Repeated repeated) {
  Module module{.name = std::string(name), .modules = {}};
  for (std::size_t i = 0; i < entries.size();) {
    const std::string_view part = entries[i].parts[level].text;
    std::size_t end = i;
    while (end < entries.size() && entries[end].parts[level].text == part) ++end;
    std::size_t below = i;  // a name may be a tensor's and the beginning of others'
    for (; below < end && entries[below].parts.size() == level + 1; ++below)
      module.modules.push_back(leaf(part, *entries[below].tensor));
    if (below < end) module.modules.push_back(build(part, entries.subspan(below, end - below), level + 1, repeated));
    i = end;
  }
  module.fingerprint = 2;
  for (const Module& child : module.modules) {
    module.tensors += child.tensors;
    module.values += child.values;
    module.bytes += child.bytes;
    module.dtypes |= child.dtypes;
    module.fingerprint = mix(mix(module.fingerprint, child.name), child.fingerprint);
  }
  if (repeated == Repeated::fold) fold(module.modules);
  return module;
}

}  // namespace

Module module_tree(const aulos::io::Checkpoint& checkpoint, Repeated repeated) {
  std::vector<Entry> entries;
  for (const TensorInfo& tensor : checkpoint.tensors()) entries.push_back({parts_of(tensor.name), &tensor});
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::lexicographical_compare(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(), is_before);
  });
  return build("", entries, 0, repeated);
}

std::string dtype_names(std::uint32_t dtypes) {
  std::string text;
  for (unsigned bit = 0; bit < 32; ++bit) {
    if ((dtypes >> bit & 1U) == 0) continue;
    text += text.empty() ? "" : ", ";
    text += aulos::name(static_cast<aulos::Dtype>(bit));
  }
  return text;
}

}  // namespace inspect
