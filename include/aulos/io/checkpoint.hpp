// A safetensors checkpoint, in one file or in shards: names, shapes and metadata at once, values when asked for.
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/dtype.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/span.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/file.hpp"
#include "aulos/io/safetensors_header.hpp"
#include "aulos/io/shard_index.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian, and so must the host be");

// read: tensors are read into the caller's memory; safe with files nobody vouches for. map: the file is mapped, views
// cost nothing; a file that another process truncates meanwhile ends this one (SIGBUS).
enum class Mode { read, map };

struct OpenOptions {
  Mode mode = Mode::read;
};

// Immutable, cheap to copy, shared freely between threads. Opening reads and checks the headers only, whatever the size
// of the file. Every failure is a CheckpointError that names the file and, where it applies, tensor and byte.
class Checkpoint {
 public:
  // A *.safetensors file, or the *.index.json of a sharded one. Metadata of shards is merged, the first value of a key
  // wins.
  template <class = Deferred>
  static Checkpoint open(const std::string& path, OpenOptions options = {}) {
    constexpr std::string_view index = ".index.json";
    auto state = std::make_shared<State>();
    state->path = path;
    if (path.size() >= index.size() && std::string_view(path).substr(path.size() - index.size()) == index) {
      open_shards(*state, options);
    } else {
      append(*state, open_source(path, options));
      state->names = std::move(state->sources.front()->header.names);
    }
    return Checkpoint(std::move(state));
  }

  // A file's bytes in memory, which must outlive the result and its copies.
  template <class = Deferred>
  static Checkpoint from_bytes(std::span<const std::byte> bytes, std::string name = "memory") {
    auto state = std::make_shared<State>();
    state->path = std::move(name);
    auto source = std::make_unique<Source>();
    source->bytes = bytes;
    source->header = read_safetensors_header(
        state->path, static_cast<Index>(bytes.size()),
        [&](Index offset, std::span<std::byte> destination) { copy(bytes, offset, destination); });
    append(*state, std::move(source));
    state->names = std::move(state->sources.front()->header.names);
    return Checkpoint(std::move(state));
  }

  const std::string& path() const { return state_->path; }
  const Metadata& metadata() const { return state_->metadata; }

  // In the order of the header, shard after shard.
  std::span<const TensorInfo> tensors() const { return as_span(state_->tensors); }

  // nullptr if there is none of that name.
  const TensorInfo* find(std::string_view name) const { return state_->names.find(tensors(), name); }

  template <class = Deferred>
  const TensorInfo& info(std::string_view name) const {
    if (const TensorInfo* found = find(name)) return *found;
    std::vector<std::string_view> names;
    names.reserve(tensors().size());
    for (const TensorInfo& tensor : tensors()) names.push_back(tensor.name);
    Index budget = 100'000'000;
    const Index at = nearest(name, as_span(names), budget);
    fail("has no tensor " + quote(name) +
         (at < 0 ? std::string() : ", the nearest is " + quote(names[static_cast<std::size_t>(at)])));
  }

  // The exact bytes, NaN payloads and all, into `destination` of info.bytes bytes.
  void read_bytes(const TensorInfo& info, std::span<std::byte> destination) const {
    if (static_cast<Index>(destination.size()) != info.bytes) {
      fail(concat_text(
          {"tensor ", quote(info.name), ": expected room for ", info.bytes, " bytes, got ", destination.size()}));
    }
    read_range(info, 0, destination);
  }

  // All `count` elements as T: its own dtype as it is; float and double from F64, F32, F16, BF16, F8_E4M3 and F8_E5M2
  // (exact or to the nearest, ties to even); std::int64_t from BOOL, I8 to I64 and U8 to U64. On failure `destination`
  // may be partly written.
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void read(const TensorInfo& info, T* destination, Index count) const {
    if (count != info.count) {
      fail(concat_text({"tensor ", quote(info.name), ": expected room for ", info.count, " elements of ",
                        type_text(info), ", got ", count}));
    }
    read(info, 0, destination, count);
  }

  // The elements [first, first + count) likewise.
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void read(const TensorInfo& info, Index first, T* destination, Index count) const {
    if (first < 0 || count < 0 || first > info.count - count) {
      fail(concat_text({"tensor ", quote(info.name), ": expected a part of its ", info.count, " elements, got ", count,
                        " from ", first, " on"}));
    }
    if (dtype_of<T> == info.dtype) {
      constexpr auto size = static_cast<Index>(sizeof(T));
      return read_range(info, first * size,
                        {reinterpret_cast<std::byte*>(destination), static_cast<std::size_t>(count * size)});
    }
    constexpr bool is_int64 = std::is_same_v<T, std::int64_t>;
    if (!(std::is_floating_point_v<T> ? is_convertible(info.dtype) : is_int64 && is_integer(info.dtype))) {
      fail(concat_text({"tensor ", quote(info.name), ": can't read ", type_text(info), " as ", name(dtype_of<T>)}));
    }
    if constexpr (std::is_floating_point_v<T> || is_int64) {
      const Index width = bits(info.dtype) / 8;
      for_each_chunk(info, first * width, count * width, [&](Index offset, std::span<const std::byte> chunk) {
        T* const out = destination + offset / width;
        const Index n = static_cast<Index>(chunk.size()) / width;
        if constexpr (is_int64) {
          widen_integers(info, first + offset / width, chunk.data(), out, n);
        } else {
          convert(info.dtype, chunk.data(), out, n);
        }
      });
    }
  }

  template <class T>
  std::vector<T> values(std::string_view name) const {
    const TensorInfo& tensor = info(name);
    std::vector<T> result(static_cast<std::size_t>(tensor.count));
    read(tensor, result.data(), tensor.count);
    return result;
  }

  // Whether view() works: mapped (not every file system can) or made by from_bytes().
  bool is_mapped() const {
    for (const auto& source : state_->sources) {
      if (source->file) return false;
    }
    return true;
  }

  // The bytes where they are, of any alignment; valid as long as this Checkpoint or a copy of it.
  std::span<const std::byte> view(const TensorInfo& info) const {
    const Source& source = *state_->sources[info.file];
    if (source.file) fail(concat_text({"tensor ", quote(info.name), ": no view, the file isn't mapped"}));
    return source.bytes.subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.bytes));
  }

 private:
  static constexpr Index chunk_bytes = Index{1} << 18;
  static constexpr std::size_t max_open_shards = 64;

  struct Source {
    std::optional<File> file;        // absent when the bytes are in memory
    std::optional<Mapping> mapping;  // owner of bytes when mapped
    std::span<const std::byte> bytes;
    SafetensorsHeader header;
  };

  struct State {
    std::string path;
    std::vector<std::unique_ptr<Source>> sources;
    std::vector<TensorInfo> tensors;
    detail::NameIndex names;
    Metadata metadata;
  };

  explicit Checkpoint(std::shared_ptr<const State> state) : state_(std::move(state)) {}

  [[noreturn]] void fail(const std::string& message) const {
    throw CheckpointError(concat_text({printable(path(), 4096), ": ", message}));
  }

  static void copy(std::span<const std::byte> bytes, Index offset, std::span<std::byte> destination) {
    if (destination.empty()) return;
    std::memcpy(destination.data(), bytes.data() + offset, destination.size());
  }

  template <class = Deferred>
  static std::unique_ptr<Source> open_source(const std::string& path, OpenOptions options) {
    auto source = std::make_unique<Source>();
    const File& file = source->file.emplace(path);
    source->header = read_safetensors_header(
        path, file.size(), [&](Index offset, std::span<std::byte> destination) { file.read(offset, destination); });
    if (options.mode == Mode::map) {
      source->bytes = source->mapping.emplace(file).bytes();
      if (!source->bytes.empty()) source->file.reset();
    }
    return source;
  }

  template <class = Deferred>
  static void append(State& state, std::unique_ptr<Source> source) {
    SafetensorsHeader& header = source->header;
    for (TensorInfo& tensor : header.tensors) tensor.file = static_cast<std::uint32_t>(state.sources.size());
    if (state.tensors.empty()) {
      state.tensors = std::move(header.tensors);
    } else {
      for (const TensorInfo& tensor : header.tensors) state.tensors.push_back(tensor);
    }
    header.tensors = {};
    state.metadata.merge(header.metadata);
    state.sources.push_back(std::move(source));
  }

  template <class = Deferred>
  static void open_shards(State& state, OpenOptions options) {
    const ShardIndex index = parse_shard_index(state.path, read_text(state.path, max_header_bytes));
    const std::string folder = state.path.substr(0, state.path.rfind('/') + 1);
    std::vector<std::string> problems;
    std::vector<char> is_open;
    for (const std::string& file : index.files) {
      try {
        append(state, open_source(folder + file, options));
        if (auto& source = state.sources.back()->file; source && index.files.size() > max_open_shards) source->park();
        is_open.push_back(1);
      } catch (const CheckpointError& error) {
        problems.push_back("shard " + quote(file) + ": " + error.what());
        state.sources.push_back(std::make_unique<Source>());  // keeps the numbers of files in step
        is_open.push_back(0);
      }
    }
    const std::span<const TensorInfo> tensors = as_span(state.tensors);
    state.names = detail::NameIndex(tensors);
    state.names.for_each_duplicate(tensors, [&](const TensorInfo& a, const TensorInfo& b) {
      problems.push_back("tensor " + quote(a.name) + " is in two shards, " + quote(index.files[a.file]) + " and " +
                         quote(index.files[b.file]));
    });
    for (const auto& [name, file] : index.entries) {
      const TensorInfo* const tensor = state.names.find(tensors, name);
      if ((tensor == nullptr || tensor->file != file) && is_open[file] != 0) {
        problems.push_back(
            "tensor " + quote(name) + " is listed in shard " + quote(index.files[file]) +
            (tensor == nullptr ? ", which lacks it" : ", but is in " + quote(index.files[tensor->file])));
      }
    }
    if (!problems.empty()) throw CheckpointError(join_problems(state.path, problems));
  }

  void read_range(const TensorInfo& info, Index offset, std::span<std::byte> destination) const {
    if (destination.empty()) return;
    const Source& source = *state_->sources[info.file];
    if (!source.file) return copy(source.bytes, info.offset + offset, destination);
    try {
      source.file->read(info.offset + offset, destination);
    } catch (const FileError& error) {
      throw FileError(concat_text({error.what(), ", in tensor ", quote(info.name)}));
    }
  }

  // fn(offset, bytes) over `bytes` bytes of the tensor from `begin` on, in pieces of whole elements; offsets count from
  // there.
  template <class Function>
  void for_each_chunk(const TensorInfo& info, Index begin, Index bytes, Function&& fn) const {
    const Source& source = *state_->sources[info.file];
    if (!source.file) {
      return fn(0, view(info).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(bytes)));
    }
    const Index most = (std::min)(bytes, chunk_bytes);
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(most));
    for (Index offset = 0; offset < bytes; offset += most) {
      const std::span<std::byte> chunk(buffer.get(), static_cast<std::size_t>((std::min)(bytes - offset, most)));
      read_range(info, begin + offset, chunk);
      fn(offset, chunk);
    }
  }

  template <class From>
  static void widen_as(const std::byte* source, std::int64_t* destination, Index count) {
    for (Index i = 0; i < count; ++i) {
      From value;
      std::memcpy(&value, source + i * static_cast<Index>(sizeof(From)), sizeof(From));
      destination[i] = static_cast<std::int64_t>(value);
    }
  }

  template <class = Deferred>
  void widen_integers(const TensorInfo& info, Index first, const std::byte* source, std::int64_t* destination,
                      Index count) const {
    switch (info.dtype) {
      case Dtype::i8:
        return widen_as<std::int8_t>(source, destination, count);
      case Dtype::i16:
        return widen_as<std::int16_t>(source, destination, count);
      case Dtype::i32:
        return widen_as<std::int32_t>(source, destination, count);
      case Dtype::u16:
        return widen_as<std::uint16_t>(source, destination, count);
      case Dtype::u32:
        return widen_as<std::uint32_t>(source, destination, count);
      case Dtype::u64:
        widen_as<std::uint64_t>(source, destination, count);
        break;
      default:
        widen_as<std::uint8_t>(source, destination, count);
        break;  // U8 and BOOL
    }
    const std::int64_t most = info.dtype == Dtype::boolean ? 1 : (std::numeric_limits<std::int64_t>::max)();
    for (Index i = 0; i < count; ++i) {
      if (destination[i] < 0 || destination[i] > most) {
        fail("tensor " + quote(info.name) + ": element " + std::to_string(first + i) + " of " + type_text(info) +
             (info.dtype == Dtype::boolean ? " is neither 0 nor 1" : " exceeds 2^63 - 1"));
      }
    }
  }

  std::shared_ptr<const State> state_;
};

}  // namespace aulos::inline AULOS_ISA::io
