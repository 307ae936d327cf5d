// The pairs of texts that a safetensors file carries beside its tensors.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/sorted_indices.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

// A map from text to text, sorted by key. A vector, and no std::map: that costs every user of the library a twentieth
// of its compile time.
class Metadata {
 public:
  struct Pair {
    std::string key, value;
    bool operator==(const Pair&) const = default;
  };

  Metadata() = default;
  // Of equal keys the first counts.
  Metadata(std::initializer_list<Pair> pairs) {
    for (const Pair& pair : pairs) add(pair.key, pair.value);
  }
  // Of equal keys the first counts. Takes n log n steps, whatever the order.
  template <class = Deferred>
  explicit Metadata(std::vector<Pair>&& pairs) {
    const auto order =
        sorted_indices(pairs.size(), [&](std::uint32_t a, std::uint32_t b) { return pairs[a].key < pairs[b].key; });
    pairs_.reserve(pairs.size());
    for (const std::uint32_t i : order) {
      if (pairs_.empty() || pairs_.back().key != pairs[i].key) pairs_.push_back(std::move(pairs[i]));
    }
  }

  bool empty() const noexcept { return pairs_.empty(); }
  std::size_t size() const noexcept { return pairs_.size(); }
  const Pair* begin() const noexcept { return pairs_.data(); }
  const Pair* end() const noexcept { return pairs_.data() + pairs_.size(); }

  // The value of a key; null where there is none.
  const std::string* find(std::string_view key) const noexcept {
    const std::size_t i = place_of(key);
    return i < pairs_.size() && pairs_[i].key == key ? &pairs_[i].value : nullptr;
  }
  // The value of a key; throws CheckpointError where there is none.
  template <class = Deferred>
  const std::string& at(std::string_view key) const {
    if (const std::string* value = find(key)) return *value;
    throw CheckpointError(concat_text({"the metadata has no key ", quote(key)}));
  }

  // Adds a pair unless the key is there; whether it did.
  template <class = Deferred>
  bool add(std::string_view key, std::string_view value) {
    const std::size_t i = place_of(key);
    if (i < pairs_.size() && pairs_[i].key == key) return false;
    pairs_.push_back({std::string(key), std::string(value)});
    for (std::size_t j = pairs_.size() - 1; j > i; --j) std::swap(pairs_[j], pairs_[j - 1]);
    return true;
  }
  // Adds a pair, or gives the key a new value.
  template <class = Deferred>
  void set(std::string_view key, std::string_view value) {
    if (!add(key, value)) pairs_[place_of(key)].value = value;
  }
  // Adds the pairs of another whose keys are not here.
  template <class = Deferred>
  void merge(const Metadata& other) {
    std::vector<Pair> all = std::move(pairs_);
    for (const Pair& pair : other) all.push_back(pair);
    *this = Metadata(std::move(all));
  }

  bool operator==(const Metadata&) const = default;

 private:
  // Where a key is or would be.
  std::size_t place_of(std::string_view key) const noexcept {
    std::size_t begin = 0, end = pairs_.size();
    while (begin < end) {
      const std::size_t middle = (begin + end) / 2;
      if (pairs_[middle].key < key) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin;
  }

  std::vector<Pair> pairs_;
};

}  // namespace aulos::inline AULOS_ISA::io
