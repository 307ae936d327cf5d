// What a model wants against what a checkpoint has: all differences at once, before anything is loaded.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/dtype.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/function_ref.hpp"
#include "aulos/core/numeric.hpp"
#include "aulos/core/span.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/checkpoint.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

// optional: a buffer that the model can derive, which some checkpoints leave out.
enum class Presence { required, optional };

// A parameter or buffer of floating-point values, under its name in the model.
struct WantedTensor {
  std::string name;
  std::vector<Index> shape;
  Presence presence = Presence::required;
};

struct LoadOptions {
  std::string prefix = {};           // stands before every name in the file ("model."); names outside it are ignored
  bool allow_unexpected = false;     // names in the file (under the prefix) that the model doesn't have
  std::optional<Numeric> pack = {};  // pack each weight while it is read: never are all rows in memory
  int threads = 0;                   // that read, convert and pack; 0: as many as a Context would have
};

struct LoadReport {
  struct Problem {
    std::string name;  // without the prefix
    std::string detail;
  };

  std::vector<const TensorInfo*> matches;  // of each wanted tensor, nullptr where it is absent; owned by the checkpoint
  std::vector<Problem> missing;
  std::vector<Problem> unexpected;  // filled in any case; no failure when allowed
  std::vector<Problem> wrong_shape;
  std::vector<Problem> wrong_dtype;
  std::string hint;  // the prefix that would fit, if another fits better
  std::string path;
  LoadOptions options;

  bool ok() const {
    return missing.empty() && wrong_shape.empty() && wrong_dtype.empty() &&
           (unexpected.empty() || options.allow_unexpected);
  }

  // One line a problem under a line of counts; of each kind the first thousand.
  template <class = Deferred>
  std::string text() const {
    std::string result = printable(path, 4096) + ": ";
    if (ok()) return result + "fits the model";
    result += "doesn't fit the model";
    if (!options.prefix.empty()) result += " under prefix " + quote(options.prefix);
    result += ": " + std::to_string(missing.size()) + " missing, " +
              std::to_string(options.allow_unexpected ? 0 : unexpected.size()) + " unexpected, " +
              std::to_string(wrong_shape.size()) + " of wrong shape, " + std::to_string(wrong_dtype.size()) +
              " of wrong dtype";
    const auto list = [&](const char* kind, const std::vector<Problem>& problems) {
      constexpr std::size_t shown = 1000;
      for (std::size_t i = 0; i < (std::min)(problems.size(), shown); ++i) {
        result += std::string("\n  ") + kind + " " + quote(problems[i].name) + ": " + problems[i].detail;
      }
      if (problems.size() > shown) {
        result += std::string("\n  ") + kind + ": " + std::to_string(problems.size() - shown) + " more";
      }
    };
    list("missing", missing);
    if (!options.allow_unexpected) list("unexpected", unexpected);
    list("wrong shape", wrong_shape);
    list("wrong dtype", wrong_dtype);
    if (!hint.empty()) result += "\n  hint: " + hint;
    return result;
  }
};

namespace detail {

// The prefix under which more wanted names are in the file than under the one that was asked for, as a sentence.
template <class = Deferred>
std::string suggest_prefix(std::span<const WantedTensor> wanted, std::span<const std::string_view> missing,
                           const Checkpoint& checkpoint, const std::string& current, Index current_matches) {
  constexpr std::size_t samples = 8;
  constexpr std::size_t max_candidates = 64;
  const auto is_separator = [](char c) { return c == '.' || c == '/'; };
  std::vector<std::string> added;    // stands in the file, not in the model
  std::vector<std::string> removed;  // stands in the model, not in the file
  const auto insert = [](std::vector<std::string>& sorted, std::string_view prefix) {
    std::size_t at = 0;
    while (at < sorted.size() && sorted[at].compare(prefix) < 0) ++at;  // clang 14 finds no < of these in a template
    if (at == sorted.size() || sorted[at].compare(prefix) != 0)
      sorted.emplace(sorted.begin() + static_cast<Index>(at), prefix);
  };
  insert(added, "");
  for (std::size_t s = 0; s < (std::min)(samples, missing.size()); ++s) {
    const std::string_view name = missing[s * missing.size() / (std::min)(samples, missing.size())];
    for (const TensorInfo& tensor : checkpoint.tensors()) {
      if (added.size() >= max_candidates) break;
      if (tensor.name.size() <= name.size() || !tensor.name.ends_with(name)) continue;
      const std::string_view prefix = tensor.name.substr(0, tensor.name.size() - name.size());
      if (is_separator(prefix.back())) insert(added, prefix);
    }
    for (std::size_t i = 0; i + 1 < name.size(); ++i) {
      if (is_separator(name[i]) && checkpoint.find(name.substr(i + 1)) != nullptr)
        insert(removed, name.substr(0, i + 1));
    }
  }
  const auto count = [&](FunctionRef<std::string(const std::string& name)> in_file) {
    Index found = 0;
    for (const WantedTensor& want : wanted) {
      const std::string name = in_file(want.name);
      found += !name.empty() && checkpoint.find(name) != nullptr;
    }
    return found;
  };
  Index best = current_matches;
  std::string sentence;
  const auto fits = [&](Index matches) {
    return concat_text(
        {": ", matches, " of ", wanted.size(), " wanted names are in the file so, ", current_matches, " as asked"});
  };
  for (const std::string& prefix : added) {
    if (prefix == current) continue;
    const Index matches = count([&](const std::string& name) { return prefix + name; });
    if (matches <= best) continue;
    best = matches;
    sentence = (prefix.empty() ? "leave .prefix empty" : "set .prefix to " + quote(prefix)) + fits(matches);
  }
  for (const std::string& prefix : removed) {
    const Index matches = count([&](const std::string& name) {
      return name.compare(0, prefix.size(), prefix) == 0 ? name.substr(prefix.size()) : std::string();
    });
    if (matches <= best) continue;
    best = matches;
    sentence = "the names in the file lack " + quote(prefix) + fits(matches);
  }
  return sentence;
}

}  // namespace detail

// Compares names, shapes and dtypes; reads no values. Any float dtype that convert() reads is right.
template <class = Deferred>
LoadReport compare(std::span<const WantedTensor> wanted, const Checkpoint& checkpoint,
                   const LoadOptions& options = {}) {
  LoadReport report;
  report.path = checkpoint.path();
  report.options = options;
  std::vector<char> is_wanted(checkpoint.tensors().size());
  std::vector<const WantedTensor*> missing;
  Index found = 0;
  for (const WantedTensor& want : wanted) {
    const TensorInfo* const info = checkpoint.find(options.prefix + want.name);
    report.matches.push_back(info);
    if (info == nullptr) {
      if (want.presence == Presence::required) missing.push_back(&want);
      continue;
    }
    ++found;
    is_wanted[static_cast<std::size_t>(info - checkpoint.tensors().data())] = 1;
    bool is_same = want.shape.size() == info->shape.size();
    bool is_transposed = is_same && want.shape.size() > 1;
    for (std::size_t i = 0; i < want.shape.size() && is_same + is_transposed > 0; ++i) {
      is_same = is_same && want.shape[i] == info->shape[i];
      is_transposed = is_transposed && want.shape[want.shape.size() - 1 - i] == info->shape[i];
    }
    if (!is_same) {
      report.wrong_shape.push_back({want.name, "expected " + shape_text(as_span(want.shape)) + ", got " +
                                                   type_text(*info) + (is_transposed ? ", its transpose" : "")});
    }
    if (!is_convertible(info->dtype)) {
      report.wrong_dtype.push_back(
          {want.name, "expected one of F64, F32, F16, BF16, F8_E4M3, F8_E5M2, got " + std::string(name(info->dtype))});
    }
  }

  std::vector<const TensorInfo*> extra;
  std::vector<std::string_view> extra_names;
  std::vector<std::string_view> missing_names;
  for (std::size_t i = 0; i < is_wanted.size(); ++i) {
    const TensorInfo& info = checkpoint.tensors()[i];
    if (is_wanted[i] != 0 || !info.name.starts_with(options.prefix)) continue;
    extra.push_back(&info);
    extra_names.push_back(info.name.substr(options.prefix.size()));
  }
  missing_names.reserve(missing.size());
  for (const WantedTensor* want : missing) missing_names.push_back(want->name);
  Index budget = 200'000'000;
  const auto nearest_text = [&](std::string_view name, std::span<const std::string_view> candidates) {
    const Index at = nearest(name, candidates, budget);
    return at < 0 ? std::string() : ", nearest " + quote(candidates[static_cast<std::size_t>(at)]);
  };
  for (const WantedTensor* want : missing) {
    report.missing.push_back(
        {want->name, "expected " + shape_text(as_span(want->shape)) + nearest_text(want->name, as_span(extra_names))});
  }
  for (std::size_t i = 0; i < extra.size(); ++i) {
    report.unexpected.push_back(
        {std::string(extra_names[i]), type_text(*extra[i]) + nearest_text(extra_names[i], as_span(missing_names))});
  }
  if (!missing.empty()) {
    report.hint = detail::suggest_prefix(wanted, as_span(missing_names), checkpoint, options.prefix, found);
  }
  return report;
}

// The tensor of each wanted name (nullptr: optional and absent), or a CheckpointError with the whole report.
template <class = Deferred>
std::vector<const TensorInfo*> match(std::span<const WantedTensor> wanted, const Checkpoint& checkpoint,
                                     const LoadOptions& options = {}) {
  LoadReport report = compare(wanted, checkpoint, options);
  if (!report.ok()) throw CheckpointError(report.text());
  return std::move(report.matches);
}

}  // namespace aulos::inline AULOS_ISA::io
