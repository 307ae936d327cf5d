// Packed weights in a file: what pack() makes, written once and mapped or read as it is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/dtype.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/numeric.hpp"
#include "aulos/core/span.hpp"
#include "aulos/core/text.hpp"
#include "aulos/core/thread_count.hpp"
#include "aulos/core/threads.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/kernels/gemm_pack.hpp"
#include "aulos/nn/module.hpp"

namespace aulos::inline AULOS_ISA::nn {

namespace detail {

// The metadata key that marks such a file; its value is packed_layout<T>().
inline constexpr std::string_view packed_key = "aulos.panels";

// What must agree between the build that writes and the one that reads: the version of the layout, the type of the
// model and the columns of a panel, which are two vectors of the instruction set.
template <Real T>
std::string packed_layout() {
  return concat_text({"1 ", name(dtype_of<T>), " ", Index{kernels::detail::gemm_cols<T>}, " columns"});
}

// How a weight of [out, in] lies in the file: its dtype tells the storage, its shape is [panels, elements of a panel].
template <Real T>
Dtype packed_dtype(Numeric stored_as) {
  return stored_as == Numeric::exact ? dtype_of<T> : stored_as == Numeric::bf16 ? Dtype::bf16 : Dtype::i8;
}
template <Real T>
std::vector<Index> packed_shape(const Weight<T>& weight, Numeric stored_as) {
  const Index panels = kernels::detail::panel_count<T>(weight.out());
  const auto bytes = static_cast<Index>(kernels::packed_bytes<T>(weight.out(), weight.in(), stored_as));
  return {panels, panels == 0 ? 0 : bytes / panels / (bits(packed_dtype<T>(stored_as)) / 8)};
}

inline bool same_extents(std::span<const Index> a, std::span<const Index> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// The bytes of a tensor: where they are in a mapped file, as long as the result lives, else read into memory.
template <class = Deferred>
std::shared_ptr<const std::byte> packed_bytes_of(const io::Checkpoint& file, const io::TensorInfo& info) {
  if (file.is_mapped()) {
    const std::byte* data = file.view(info).data();
    if (reinterpret_cast<std::uintptr_t>(data) % buffer_alignment == 0) {
      return {data, [keeps = file](const std::byte*) {}};
    }
  }
  std::shared_ptr<std::byte> memory = panel_memory(static_cast<std::size_t>(info.bytes));
  file.read_bytes(info, {memory.get(), static_cast<std::size_t>(info.bytes)});
  return memory;
}

// What a load has to read, parameter by parameter.
class Reads {
 public:
  template <class Read>
  void add(Index bytes, Read&& read) {
    bytes_ += static_cast<double>(bytes);
    reads_.emplace_back(std::forward<Read>(read));
  }

  // Does it, on `threads` threads (0: on as many as a Context would have). Of failures the first in order is rethrown.
  void run(int threads) const {
    constexpr double worth = 1 << 22;  // bytes: starting threads takes as long as reading less
    if (threads == 0) threads = bytes_ < worth ? 1 : default_thread_count();
    ThreadTeam team(threads);
    team.threads().run(static_cast<Index>(reads_.size()),
                       [&](Index i, Scratch&) { reads_[static_cast<std::size_t>(i)](); });
  }

 private:
  std::vector<std::function<void()>> reads_;
  double bytes_ = 0;
};

// Has the panels in the file read into a weight; else says what is wrong with them.
template <Real T>
std::string adopt_packed(Weight<T>& weight, const io::Checkpoint& file, const io::TensorInfo& info, Reads& reads) {
  for (const Numeric stored_as : {Numeric::exact, Numeric::bf16, Numeric::int8}) {
    if (info.dtype != packed_dtype<T>(stored_as)) continue;
    const std::vector<Index> expected = packed_shape(weight, stored_as);
    if (!same_extents(info.shape, as_span(expected))) {
      return concat_text({"expected panels ", io::shape_text(as_span(expected)), " of a weight ", weight.shape(),
                          ", got ", io::shape_text(info.shape)});
    }
    const Index bytes = file.is_mapped() ? 0 : info.bytes;  // no thread is worth starting for a pointer
    reads.add(bytes, [&weight, &file, &info, stored_as] { weight.adopt(stored_as, packed_bytes_of(file, info)); });
    return {};
  }
  return concat_text({"a weight of dtype ", name(info.dtype), ", expected ", name(dtype_of<T>), ", BF16 or I8"});
}

}  // namespace detail

// Whether save_packed wrote the file.
inline bool is_packed_file(const io::Checkpoint& checkpoint) {
  return checkpoint.metadata().find(detail::packed_key) != nullptr;
}

// Writes every weight as the panels that pack() made of it (one that is not packed: exact panels) and every other
// parameter in the model's type, under the official names, as a safetensors file; with the `config` of a model in its
// metadata. It holds for builds of the same vector width; load() of a model takes it as any other checkpoint, and with
// io::Mode::map the first step reads the weights straight from the file. The old file, if any, is replaced only when
// the new one is complete.
template <Module M>
void save_packed(const M& module, const std::string& path, io::Metadata metadata = {}) {
  using T = typename M::value_type;
  metadata.set(detail::packed_key, detail::packed_layout<T>());
  if constexpr (requires { module.config.to_json(); }) metadata.add("config", module.config.to_json());
  M packed = module;  // shares the panels
  std::vector<io::SaveTensor> tensors;
  for_each_parameter(packed, [&](const auto& p) {
    if (p.weight != nullptr) {
      if (!p.weight->packed()) p.weight->pack();
      const Numeric stored_as = p.weight->stored_as();
      const std::span<const std::byte> bytes(static_cast<const std::byte*>(p.weight->view().panels), p.weight->bytes());
      tensors.push_back(
          {p.name, detail::packed_dtype<T>(stored_as), detail::packed_shape(*p.weight, stored_as), bytes});
      return;
    }
    const AnyTensor<T> x = p.any();
    if (!x.buffer()->ready) {
      if (p.role == Role::derived_buffer) return;
      throw Error(concat_text({"save_packed: ", std::string(p.name), " has no values"}));
    }
    const auto* data = reinterpret_cast<const std::byte*>(x.data());
    tensors.push_back({p.name, dtype_of<T>, p.shape, {data, static_cast<std::size_t>(p.count()) * sizeof(T)}});
  });
  io::save(path, as_span(tensors), metadata);
}

// Fills a module from such a file, reading on `threads` threads (0: on as many as a Context would have). All or
// nothing: what is missing, of another shape, or packed for another build is a CheckpointError that lists everything,
// and the module is as before.
template <Module M>
void load_packed(M& module, const io::Checkpoint& checkpoint, int threads = 0) {
  using T = typename M::value_type;
  const std::string expected = detail::packed_layout<T>();
  const std::string* layout = checkpoint.metadata().find(detail::packed_key);
  if (layout == nullptr || *layout != expected) {
    throw CheckpointError(
        concat_text({checkpoint.path(), ": packed weights, expected of layout ", io::quote(expected), ", got ",
                     layout == nullptr ? std::string("none") : io::quote(*layout),
                     "; panels are written for one vector width: pack the original checkpoint again with this build"}));
  }
  std::vector<std::string> problems;
  detail::Reads reads;
  M loaded = module;
  for_each_parameter(loaded, [&](const auto& p) {
    const std::string name = p.name;
    const io::TensorInfo* const info = checkpoint.find(name);
    std::string problem;
    if (info == nullptr) {
      if (p.role != Role::derived_buffer) problem = "is missing";
    } else if (p.weight != nullptr) {
      problem = detail::adopt_packed(*p.weight, checkpoint, *info, reads);
    } else if (info->dtype != dtype_of<T> || !detail::same_extents(info->shape, p.shape)) {
      problem = concat_text({"expected ", aulos::name(dtype_of<T>), " ", io::shape_text(p.shape), ", got ",
                             aulos::name(info->dtype), " ", io::shape_text(info->shape)});
    } else {
      reads.add(info->bytes, [&checkpoint, info, p] { checkpoint.read(*info, p.data(), p.count()); });
    }
    if (!problem.empty()) problems.push_back(concat_text({"tensor ", io::quote(name), ": ", problem}));
  });
  if (!problems.empty()) throw CheckpointError(io::join_problems(checkpoint.path(), problems));
  reads.run(threads);
  module = std::move(loaded);
}

}  // namespace aulos::inline AULOS_ISA::nn
