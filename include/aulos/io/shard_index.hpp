// The index of a checkpoint in several files: which tensor is in which shard.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/sorted_indices.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/file.hpp"
#include "aulos/io/json.hpp"
#include "aulos/io/safetensors_header.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

// `weight_map` of a *.index.json file.
struct ShardIndex {
  std::vector<std::string> files;                              // each once, in the order of first use
  std::vector<std::pair<std::string, std::uint32_t>> entries;  // tensor name, number of its file
};

// Whether a shard's name is a plain relative path that stays in the index's folder: no root, no drive, no backslash,
// no empty, `.` or `..` component. What a symbolic link of that name points to is the owner of the folder's business.
inline bool is_plain_relative_path(std::string_view path) {
  if (path.find('\0') != std::string_view::npos || path.find('\\') != std::string_view::npos) return false;
  if (path.size() >= 2 && path[1] == ':') return false;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = (std::min)(path.find('/', begin), path.size());
    const std::string_view component = path.substr(begin, end - begin);
    if (component.empty() || component == "." || component == "..") return false;
    if (end == path.size()) return true;
    begin = end + 1;
  }
}

// "PATH: " and the problem, or their number and one a line, the first thousand of them.
template <class = Deferred>
std::string join_problems(const std::string& path, const std::vector<std::string>& problems) {
  std::string message = printable(path, 4096) + ": ";
  if (problems.size() == 1) return message + problems.front();
  message += std::to_string(problems.size()) + " problems";
  constexpr std::size_t shown = 1000;
  for (std::size_t i = 0; i < (std::min)(problems.size(), shown); ++i) message += "\n  " + problems[i];
  if (problems.size() > shown) message += "\n  and " + std::to_string(problems.size() - shown) + " more";
  return message;
}

// Parses the text of an index; `source` names it in messages. No shard is opened; all names that are refused are listed
// at once. `metadata.total_size` is informative in practice (often wrong, as for tied weights) and not checked.
template <class = Deferred>
ShardIndex parse_shard_index(const std::string& source, std::string_view text) {
  const auto fail = [&](const std::string& message) {
    throw CheckpointError(concat_text({printable(source, 4096), ": ", message}));
  };
  json::Value root;
  try {
    root = json::parse(text);
  } catch (const JsonError& error) {
    fail(error.what());
  }
  if (!root.is_object()) fail(std::string("expected an object, got ") + root.kind());
  const json::Value* map = root.find("weight_map");
  if (map == nullptr || !map->is_object()) {
    fail(std::string("expected an object 'weight_map', got ") + (map == nullptr ? "none" : map->kind()));
  }
  ShardIndex index;
  std::vector<std::string> problems;
  for (const auto& member : map->members()) {
    const std::string& name = member.first;
    const json::Value& file = member.second;
    if (!file.is_string()) {
      problems.push_back("entry " + quote(name) + ": expected the name of a shard, got " + file.kind());
    } else if (!is_plain_relative_path(file.as<std::string>())) {
      problems.push_back("entry " + quote(name) + ": expected a shard inside the index's folder, got " +
                         quote(file.as<std::string>()));
    }
  }
  if (!problems.empty()) throw CheckpointError(join_problems(source, problems));

  const json::Value::Object& members = map->members();
  std::vector<std::string> files;
  files.reserve(members.size());
  for (const auto& member : members) files.push_back(member.second.as<std::string>());
  const auto order =
      sorted_indices(files.size(), [&](std::uint32_t a, std::uint32_t b) { return files[a] < files[b]; });
  std::vector<std::uint32_t> first(files.size());  // member of the same file
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool is_new = i == 0 || files[order[i]] != files[order[i - 1]];
    first[order[i]] = is_new ? order[i] : first[order[i - 1]];
  }
  index.entries.reserve(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const bool is_new = first[i] == i;
    const auto number = is_new ? static_cast<std::uint32_t>(index.files.size()) : index.entries[first[i]].second;
    if (is_new) index.files.push_back(files[i]);
    index.entries.emplace_back(members[i].first, number);
  }
  return index;
}

}  // namespace aulos::inline AULOS_ISA::io
