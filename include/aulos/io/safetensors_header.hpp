// The header of a safetensors file, checked whole before anything is believed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <forward_list>
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
#include "aulos/core/sorted_indices.hpp"
#include "aulos/core/span.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/file.hpp"
#include "aulos/io/json_reader.hpp"
#include "aulos/io/metadata.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

// What a header may hold, beyond the rules of the format. The writer keeps to the same limits.
inline constexpr Index max_header_bytes = 100'000'000;
inline constexpr Index max_tensors = Index{1} << 22;
inline constexpr Index max_rank = 64;
inline constexpr Index max_name_bytes = Index{1} << 16;
inline constexpr Index max_metadata_pairs = Index{1} << 16;

// One tensor of a checkpoint. Views into it: valid as long as the Checkpoint or a copy of it.
struct TensorInfo {
  std::string_view name;
  std::span<const Index> shape;
  Index count = 0;         // elements
  Index bytes = 0;         // their size in the file
  Index offset = 0;        // of the first byte in its file; no alignment promised
  std::uint32_t file = 0;  // which shard, 0 in a single file
  Dtype dtype{};
};

// "F32 [2, 3]"
inline std::string type_text(const TensorInfo& info) {
  return concat_text({name(info.dtype), " ", shape_text(info.shape)});
}

namespace detail {

// Names in logarithmic time, from 16 bytes each. Ordered by hash, then name: an adversary's collisions cost
// comparisons of names, never a quadratic search.
class NameIndex {
 public:
  NameIndex() = default;
  template <class = Deferred>
  explicit NameIndex(std::span<const TensorInfo> tensors) {
    std::vector<std::uint64_t> hashes(tensors.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) hashes[i] = hash(tensors[i].name);
    const auto order = sorted_indices(tensors.size(), [&](std::uint32_t a, std::uint32_t b) {
      return hashes[a] != hashes[b] ? hashes[a] < hashes[b] : tensors[a].name < tensors[b].name;
    });
    keys_.reserve(order.size());
    for (const std::uint32_t i : order) keys_.push_back({hashes[i], i});
  }

  const TensorInfo* find(std::span<const TensorInfo> tensors, std::string_view name) const {
    const std::uint64_t wanted = hash(name);
    const auto at = std::lower_bound(keys_.begin(), keys_.end(), wanted, [&](const Key& key, std::uint64_t value) {
      return key.hash != value ? key.hash < value : tensors[key.index].name < name;
    });
    if (at == keys_.end() || at->hash != wanted || tensors[at->index].name != name) return nullptr;
    return &tensors[at->index];
  }

  // fn(first, second) for each two neighbours of one name.
  void for_each_duplicate(std::span<const TensorInfo> tensors,
                          FunctionRef<void(const TensorInfo&, const TensorInfo&)> fn) const {
    for (std::size_t i = 1; i < keys_.size(); ++i) {
      const TensorInfo& a = tensors[keys_[i - 1].index];
      const TensorInfo& b = tensors[keys_[i].index];
      if (keys_[i - 1].hash == keys_[i].hash && a.name == b.name) fn(a, b);
    }
  }

 private:
  struct Key {
    std::uint64_t hash;
    std::uint32_t index;
  };

  static std::uint64_t hash(std::string_view name) {
    std::uint64_t h = name.size();
    while (!name.empty()) {
      std::uint64_t word = 0;
      const std::size_t n = std::min<std::size_t>(name.size(), 8);
      std::memcpy(&word, name.data(), n);
      h = (h ^ word) * 0x9e3779b97f4a7c15u;
      h ^= h >> 29;
      name.remove_prefix(n);
    }
    return h;
  }

  std::vector<Key> keys_;
};

// What people take for a safetensors file, by its first bytes; nullptr if unknown.
inline const char* foreign_format(std::string_view start) {
  const auto starts = [&](std::string_view magic) { return start.substr(0, magic.size()) == magic; };
  std::string lower(start);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (starts("PK\x03\x04")) return "a zip archive (a PyTorch .pt or .bin, or .npz): convert it to safetensors";
  if (start.size() >= 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5) {
    return "a Python pickle (an old PyTorch .pt or .bin): convert it to safetensors";
  }
  if (starts("GGUF")) return "a GGUF file: take the model's safetensors instead";
  if (starts("version https://git-lfs")) return "a Git LFS pointer: fetch the real file with 'git lfs pull'";
  const std::size_t text = lower.find_first_not_of(" \t\r\n");
  const std::string_view markup = text == std::string::npos ? std::string_view() : std::string_view(lower).substr(text);
  if (markup.substr(0, 9) == "<!doctype" || markup.substr(0, 5) == "<html" || markup.substr(0, 5) == "<?xml") {
    return "an HTML page, perhaps of a failed download: download the file again";
  }
  if (starts("\x89HDF")) return "an HDF5 file: convert it to safetensors";
  if (starts("\x93NUMPY")) return "a NumPy array: convert it to safetensors";
  if (starts("\x1f\x8b")) return "a gzip archive: unpack it first";
  if (markup.substr(0, 1) == "{") return "JSON text (an index must be named *.index.json)";
  return nullptr;
}

}  // namespace detail

// A header that passed every check, with what its views point into.
struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in the order of the header
  detail::NameIndex names;
  Metadata metadata;

  std::string text;
  std::forward_list<std::string> unescaped;
  std::vector<Index> extents;  // of all shapes, one after the other
};

namespace detail {

// Fills a header from its text. Byte numbers in messages count from the start of the file.
template <class = Deferred>
class HeaderParser {
 public:
  // `data_bytes` is what the file holds after the header.
  HeaderParser(const std::string& source, SafetensorsHeader& header, Index data_bytes)
      : source_(source), header_(header), data_bytes_(data_bytes) {}

  void parse() {
    std::optional<json::Reader> reader;  // outlives the handler: names with escapes are views into it
    try {
      read(reader.emplace(header_.text, 8));
    } catch (const JsonError& error) {
      fail(concat_text({subject(), ", ", error.what()}));
    }
    header_.unescaped = reader->take_strings();
    const Index* extents = header_.extents.data();
    for (TensorInfo& tensor : header_.tensors) {
      tensor.shape = {extents, tensor.shape.size()};
      extents += tensor.shape.size();
    }
    header_.names = NameIndex(as_span(header_.tensors));
    header_.names.for_each_duplicate(as_span(header_.tensors), [&](const TensorInfo& a, const TensorInfo&) {
      fail(concat_text({"duplicate key ", quote(a.name), " in the header"}));
    });
    check_ranges();
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw CheckpointError(concat_text({printable(source_, 4096), ": ", message}));
  }

  std::string subject() const {
    if (!subject_) return "header";
    return *subject_ == "__metadata__" ? std::string(*subject_) : "tensor " + quote(*subject_);
  }

  void read(json::Reader& reader) {
    const auto objects = std::count(header_.text.begin(), header_.text.end(), '{');
    constexpr Index shortest_entry = 50;
    header_.tensors.reserve(static_cast<std::size_t>(
        std::min<Index>({objects, static_cast<Index>(header_.text.size()) / shortest_entry, max_tensors})));
    bool has_metadata = false;
    reader.object("the header", [&](std::string_view key) {
      if (key == "__metadata__") {
        if (has_metadata) fail("duplicate key '__metadata__' in the header");
        has_metadata = true;
        subject_ = key;
        read_metadata(reader);
      } else {
        subject_ = key;
        read_tensor(reader, key);
      }
      subject_.reset();
    });
    reader.expect_end();
  }

  void read_metadata(json::Reader& reader) {
    std::vector<Metadata::Pair> pairs;
    std::vector<std::string_view> keys;  // views into the text, or into the reader
    reader.object("string pairs", [&](std::string_view key) {
      if (reader.peek() != '"') reader.fail_here("key " + quote(key) + ": expected a string");
      const std::string_view value = reader.string("a value");
      if (static_cast<Index>(pairs.size()) == max_metadata_pairs) {
        fail(concat_text({"expected at most ", max_metadata_pairs, " pairs in __metadata__, got more"}));
      }
      pairs.push_back({std::string(key), std::string(value)});
      keys.push_back(key);
    });
    if (const auto twin = json::find_duplicate(keys))
      fail(concat_text({"duplicate key ", quote(*twin), " in __metadata__"}));
    header_.metadata = Metadata(std::move(pairs));
  }

  void read_tensor(json::Reader& reader, std::string_view name) {
    TensorInfo info;
    info.name = name;
    if (static_cast<Index>(name.size()) > max_name_bytes) {
      fail(concat_text({subject(), ": expected a name of at most ", max_name_bytes, " bytes, got ", name.size()}));
    }
    if (static_cast<Index>(header_.tensors.size()) == max_tensors) {
      fail(concat_text({"expected at most ", max_tensors, " tensors, got more"}));
    }
    bool has_dtype = false;
    bool has_shape = false;
    Index offsets[2] = {0, 0};
    int offset_count = -1;  // -1: no such field yet
    others_.clear();
    reader.object("a tensor", [&](std::string_view key) {
      const auto once = [&](bool seen) {
        if (seen) fail(concat_text({subject(), ": duplicate key ", quote(key)}));
      };
      if (key == "dtype") {
        once(std::exchange(has_dtype, true));
        info.dtype = read_dtype(reader);
      } else if (key == "shape") {
        once(std::exchange(has_shape, true));
        read_shape(reader);
      } else if (key == "data_offsets") {
        once(offset_count >= 0);
        offset_count = 0;
        reader.array("data_offsets", [&] {
          const Index value = reader.natural("data_offsets");
          if (offset_count < 2) offsets[offset_count] = value;
          offset_count = (std::min)(offset_count + 1, 3);
        });
      } else {
        others_.push_back(key);  // room for extensions of the format, as the reference reader leaves it
        reader.skip();
      }
    });
    if (const auto twin = json::find_duplicate(others_))
      fail(concat_text({subject(), ": duplicate key ", quote(*twin)}));
    if (!has_dtype) fail(subject() + ": has no 'dtype'");
    if (!has_shape) fail(subject() + ": has no 'shape'");
    if (offset_count < 0) fail(subject() + ": has no 'data_offsets'");
    if (offset_count != 2) {
      fail(subject() + ": expected 2 numbers in data_offsets, got " +
           (offset_count > 2 ? "more" : std::to_string(offset_count)));
    }
    info.shape = as_span(shape_);
    set_size(info);
    const std::string range = "data_offsets [" + std::to_string(offsets[0]) + ", " + std::to_string(offsets[1]) + "]";
    if (offsets[0] > offsets[1]) fail(concat_text({subject(), ": reversed ", range}));
    if (offsets[1] - offsets[0] != info.bytes) {
      fail(concat_text({subject(), ": expected ", info.bytes, " bytes for ", type_text(info), ", got ",
                        offsets[1] - offsets[0], " by ", range}));
    }
    info.offset = offsets[0];         // from the start of the data, until all ranges are checked
    header_.tensors.push_back(info);  // its shape moves to the header's extents, which parse() makes it see
    for (const Index extent : shape_) header_.extents.push_back(extent);
  }

  Dtype read_dtype(json::Reader& reader) {
    const std::string_view text = reader.string("dtype");
    if (const auto dtype = parse_dtype(text)) return *dtype;
    std::string known;
    for (const auto& row : aulos::detail::dtype_table) known += " " + std::string(row.name);
    fail(concat_text({subject(), ": unknown dtype ", quote(text, 40), ", expected one of", known}));
  }

  void read_shape(json::Reader& reader) {
    shape_.clear();
    reader.array("shape", [&] {
      shape_.push_back(reader.natural("shape"));
      if (static_cast<Index>(shape_.size()) > max_rank) {
        fail(concat_text({subject(), ": expected at most ", max_rank, " dimensions, got more"}));
      }
    });
  }

  // The product goes from left to right, as in the reference reader: [0, 2^62, 4] is empty, [2^62, 4, 0] overflows.
  void set_size(TensorInfo& info) const {
    Index count = 1;
    for (const Index extent : info.shape) {
      if (__builtin_mul_overflow(count, extent, &count)) {
        fail(concat_text({subject(), ": the element count of ", type_text(info), " overflows"}));
      }
    }
    Index total = 0;
    if (__builtin_mul_overflow(count, bits(info.dtype), &total)) {
      fail(concat_text({subject(), ": the byte count of ", type_text(info), " overflows"}));
    }
    if (total % 8 != 0) {
      fail(concat_text({subject(), ": expected whole bytes, but ", type_text(info), " takes ", total, " bits"}));
    }
    info.count = count;
    info.bytes = total / 8;
  }

  // The ranges, in order, tile the data: no gap, no overlap, nothing left over.
  void check_ranges() {
    std::vector<TensorInfo>& tensors = header_.tensors;
    const auto before = [](const TensorInfo& a, const TensorInfo& b) {
      return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
    };
    bool is_sorted = true;
    for (std::size_t i = 1; i < tensors.size(); ++i) is_sorted = is_sorted && !before(tensors[i], tensors[i - 1]);
    std::vector<std::uint32_t> order;
    if (!is_sorted) {
      order = sorted_indices(tensors.size(),
                             [&](std::uint32_t a, std::uint32_t b) { return before(tensors[a], tensors[b]); });
    }
    const Index data_begin = 8 + static_cast<Index>(header_.text.size());
    const auto file_bytes = [&](Index from, Index to) {
      return concat_text({"bytes ", from, " to ", to, " of the data"});
    };
    const TensorInfo* previous = nullptr;
    Index end = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      TensorInfo& tensor = tensors[order.empty() ? i : order[i]];
      const std::string_view name = tensor.name;
      const auto range = [&] { return file_bytes(tensor.offset, tensor.offset + tensor.bytes); };
      if (tensor.offset > end) {
        fail(concat_text(
            {"gap: ", file_bytes(end, tensor.offset), ", before tensor ", quote(name), ", belong to no tensor"}));
      }
      if (tensor.offset < end) {
        const Index previous_begin = previous->offset - data_begin;
        if (previous_begin == tensor.offset && previous->bytes == tensor.bytes) {
          fail(concat_text(
              {"same range twice: tensors ", quote(previous->name), " and ", quote(name), " both have ", range()}));
        }
        fail(concat_text({"overlap: tensor ", quote(name), " with ", range(), " begins inside tensor ",
                          quote(previous->name), " with ",
                          file_bytes(previous_begin, previous_begin + previous->bytes)}));
      }
      if (tensor.bytes > data_bytes_ - end) {
        fail(concat_text(
            {"truncated: tensor ", quote(name), " has ", range(), ", but the file ends after ", data_bytes_}));
      }
      end += tensor.bytes;
      tensor.offset += data_begin;
      previous = &tensor;
    }
    if (end != data_bytes_) {
      fail(concat_text({"trailing bytes: ", file_bytes(end, data_bytes_), " follow the last tensor"}));
    }
  }

  const std::string& source_;
  SafetensorsHeader& header_;
  Index data_bytes_;
  std::optional<std::string_view> subject_;  // the member being read
  std::vector<Index> shape_;
  std::vector<std::string_view> others_;
};

}  // namespace detail

// Reads and checks the header of `size` bytes of safetensors that `read(offset, destination)` gives; `source` names
// them in messages. Nothing is allocated in proportion to a number in the file before that number is checked against
// `size`. An unknown dtype is an error of the whole file, as in the reference reader; unknown fields are ignored.
template <class = Deferred>
SafetensorsHeader read_safetensors_header(const std::string& source, Index size,
                                          FunctionRef<void(Index offset, std::span<std::byte> destination)> read) {
  const auto fail = [&](const std::string& message) {
    throw CheckpointError(concat_text({printable(source, 4096), ": ", message}));
  };
  std::string start(static_cast<std::size_t>(std::min<Index>(size, 64)), '\0');
  read(0, as_bytes(start));
  try {
    if (size < 8) {
      fail(size == 0 ? std::string("the file is empty")
                     : "expected at least 8 bytes for the header's length, got " + std::to_string(size));
    }
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      length |= std::uint64_t{static_cast<unsigned char>(start[i])} << (8 * i);
    }
    if (length > static_cast<std::uint64_t>(max_header_bytes)) {
      fail(concat_text({"expected a header of at most ", max_header_bytes, " bytes, got a length of ", length,
                        "; is it a safetensors file?"}));
    }
    const auto header_bytes = static_cast<Index>(length);
    if (header_bytes > size - 8) {
      fail(concat_text({"expected a header of ", header_bytes, " bytes, but only ", size - 8, " follow its length"}));
    }
    SafetensorsHeader header;
    header.text.resize(static_cast<std::size_t>(header_bytes));
    read(8, as_bytes(header.text));
    detail::HeaderParser<>(source, header, size - 8 - header_bytes).parse();
    return header;
  } catch (const FileError&) {
    throw;
  } catch (const CheckpointError&) {
    if (const char* format = detail::foreign_format(start))
      fail("expected a safetensors file, got " + std::string(format));
    throw;
  }
}

}  // namespace aulos::inline AULOS_ISA::io
