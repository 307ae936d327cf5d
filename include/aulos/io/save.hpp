// Writes safetensors files: every file is one that the reader accepts, or none is written.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
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
#include "aulos/io/json_writer.hpp"
#include "aulos/io/metadata.hpp"
#include "aulos/io/safetensors_header.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

struct SaveTensor {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<Index> shape;
  std::span<const std::byte> data = {};  // where it lies in memory as it goes to the file
};

// Gives bytes [offset, offset + destination.size()) of tensors[tensor]: for values that are converted on the way. The
// pieces of a tensor come in order, each of whole 8-byte groups or up to the tensor's end.
using Fill = FunctionRef<void(Index tensor, Index offset, std::span<std::byte> destination)>;

namespace detail {

inline constexpr Index cache_line = 64;

// The order of tensors in the file, and the header that says so: first those of whole cache lines, which then each
// begin on one, then by element size (largest first, so that each is aligned to its own size), then by name.
struct SavePlan {
  std::vector<std::uint32_t> order;
  std::vector<Index> bytes;  // of each tensor, in the caller's order
  std::string prefix;        // length and header
  Index total = 0;           // bytes of the data
};

template <class = Deferred>
SavePlan plan_save(const std::string& destination, std::span<const SaveTensor> tensors, const Metadata& metadata) {
  const auto fail = [&](const std::string& message) {
    throw CheckpointError(concat_text({printable(destination, 4096), ": can't save: ", message}));
  };
  const auto check_text = [&](std::string_view text, const char* what) {
    if (utf8_valid_prefix(text) != text.size()) fail(concat_text({what, " ", quote(text), " is not UTF-8"}));
  };
  if (static_cast<Index>(tensors.size()) > max_tensors) {
    fail(concat_text({"expected at most ", max_tensors, " tensors, got ", tensors.size()}));
  }
  if (static_cast<Index>(metadata.size()) > max_metadata_pairs) {
    fail(concat_text({"expected at most ", max_metadata_pairs, " pairs of metadata, got ", metadata.size()}));
  }
  SavePlan plan;
  plan.bytes.resize(tensors.size());
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const SaveTensor& tensor = tensors[i];
    const std::string type = std::string(name(tensor.dtype)) + " " + shape_text(as_span(tensor.shape));
    check_text(tensor.name, "the name");
    if (tensor.name == "__metadata__") fail("the name '__metadata__' is reserved");
    if (static_cast<Index>(tensor.name.size()) > max_name_bytes) {
      fail(concat_text({"the name ", quote(tensor.name), " exceeds ", max_name_bytes, " bytes"}));
    }
    if (static_cast<Index>(tensor.shape.size()) > max_rank) {
      fail(concat_text({"tensor ", quote(tensor.name), " has more than ", max_rank, " dimensions"}));
    }
    Index size = bits(tensor.dtype);
    for (const Index extent : tensor.shape) {
      if (extent < 0 || __builtin_mul_overflow(size, extent, &size)) {
        fail(concat_text({"tensor ", quote(tensor.name), ": the shape of ", type, " is negative or overflows"}));
      }
    }
    if (size % 8 != 0)
      fail(concat_text({"tensor ", quote(tensor.name), ": ", type, " is not a whole number of bytes"}));
    plan.bytes[i] = size / 8;
    if (__builtin_add_overflow(plan.total, plan.bytes[i], &plan.total)) fail("the sum of all sizes overflows");
    names.push_back(tensor.name);
  }
  if (const auto twin = json::find_duplicate(names)) fail(concat_text({"the name ", quote(*twin), " occurs twice"}));
  plan.order = sorted_indices(tensors.size(), [&](std::uint32_t a, std::uint32_t b) {
    const bool a_lines = plan.bytes[a] % cache_line == 0 && plan.bytes[a] > 0;
    const bool b_lines = plan.bytes[b] % cache_line == 0 && plan.bytes[b] > 0;
    if (a_lines != b_lines) return a_lines;
    const Index a_bits = bits(tensors[a].dtype);
    const Index b_bits = bits(tensors[b].dtype);
    return a_bits != b_bits ? a_bits > b_bits : tensors[a].name < tensors[b].name;
  });

  json::Writer header;
  header.begin_object();
  if (!metadata.empty()) {
    header.key("__metadata__").begin_object();
    for (const auto& [key, value] : metadata) {
      check_text(key, "the metadata key");
      check_text(value, "the metadata value");
      header.key(key).value(value);
    }
    header.end_object();
  }
  Index offset = 0;
  for (const std::uint32_t i : plan.order) {
    header.key(tensors[i].name).begin_object().key("dtype").value(name(tensors[i].dtype)).key("shape").begin_array();
    for (const Index extent : tensors[i].shape) header.value(extent);
    header.end_array().key("data_offsets").begin_array().value(offset);
    offset += plan.bytes[i];
    header.value(offset).end_array().end_object();
  }
  header.end_object();
  std::string text = header.take();
  constexpr std::size_t line = cache_line, length = 8;
  text.resize((text.size() + length + line - 1) / line * line - length, ' ');
  if (static_cast<Index>(text.size()) > max_header_bytes) {
    fail(concat_text({"expected a header of at most ", max_header_bytes, " bytes, got ", text.size()}));
  }
  for (std::size_t i = 0; i < 8; ++i) plan.prefix += static_cast<char>(text.size() >> (8 * i) & 255u);
  plan.prefix += text;
  return plan;
}

template <class = Deferred>
void check_data(const std::string& destination, std::span<const SaveTensor> tensors, const SavePlan& plan) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (static_cast<Index>(tensors[i].data.size()) != plan.bytes[i]) {
      throw CheckpointError(
          concat_text({printable(destination, 4096), ": can't save: tensor ", quote(tensors[i].name), ": expected ",
                       plan.bytes[i], " bytes of data for ", name(tensors[i].dtype), " ",
                       shape_text(as_span(tensors[i].shape)), ", got ", tensors[i].data.size()}));
    }
  }
}

}  // namespace detail

// Replaces `path` by a file of these tensors, all or nothing: see AtomicFile. Tensors may be views into a mapping of
// the very file that is replaced. CheckpointError, before anything is written, for what the format can't hold;
// FileError when the system refuses.
template <class = Deferred>
void save(const std::string& path, std::span<const SaveTensor> tensors, const Metadata& metadata = {}) {
  const detail::SavePlan plan = detail::plan_save(path, tensors, metadata);
  detail::check_data(path, tensors, plan);
  AtomicFile file(path);
  file.write(plan.prefix);
  for (const std::uint32_t i : plan.order) file.write(tensors[i].data);
  file.commit();
}

// The same with values from `fill`; the tensors' data is not looked at. What `fill` throws leaves the old file as it
// was.
template <class = Deferred>
void save(const std::string& path, std::span<const SaveTensor> tensors, Fill fill, const Metadata& metadata = {}) {
  const detail::SavePlan plan = detail::plan_save(path, tensors, metadata);
  AtomicFile file(path);
  file.write(plan.prefix);
  constexpr Index chunk_bytes = Index{1} << 18;
  const auto buffer = std::make_unique<std::byte[]>(static_cast<std::size_t>(chunk_bytes));
  for (const std::uint32_t i : plan.order) {
    for (Index offset = 0; offset < plan.bytes[i]; offset += chunk_bytes) {
      const Index n = (std::min)(plan.bytes[i] - offset, chunk_bytes);
      const std::span<std::byte> chunk(buffer.get(), static_cast<std::size_t>(n));
      fill(Index{i}, offset, chunk);
      file.write(chunk);
    }
  }
  file.commit();
}

// The same file in memory.
template <class = Deferred>
std::vector<std::byte> serialize(std::span<const SaveTensor> tensors, const Metadata& metadata = {}) {
  const std::string destination = "memory";
  const detail::SavePlan plan = detail::plan_save(destination, tensors, metadata);
  detail::check_data(destination, tensors, plan);
  std::vector<std::byte> result;
  result.reserve(plan.prefix.size() + static_cast<std::size_t>(plan.total));
  const auto append = [&](std::span<const std::byte> bytes) {
    result.insert(result.end(), bytes.data(), bytes.data() + bytes.size());
  };
  append(as_bytes(std::string_view(plan.prefix)));
  for (const std::uint32_t i : plan.order) append(tensors[i].data);
  return result;
}

}  // namespace aulos::inline AULOS_ISA::io
