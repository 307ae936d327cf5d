// Filling a module from a checkpoint, and writing one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/dtype.hpp"
#include "aulos/core/error.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/nn/packed_file.hpp"

namespace aulos::inline AULOS_ISA::nn {

// Where a checkpoint of another layout keeps a parameter: rows of a stored tensor that is cut into `parts` equal blocks
// of rows, of which `take` lists the parameter's own, in order. {"qkv.weight", 3, {1}} are the keys of fused
// projections, {"final.weight", 2, {1, 0}} has its halves exchanged.
struct StoredAs {
  std::string name;
  Index parts = 1;
  std::vector<Index> take = {0};
};

namespace detail {

// Reads elements [first, first + count) of a parameter of `total`, which lies in blocks of rows.
template <Real T>
void read_stored(const io::Checkpoint& checkpoint, const io::TensorInfo& info, const StoredAs& stored, Index total,
                 Index first, T* out, Index count) {
  const Index block = total / static_cast<Index>(stored.take.size());
  for (const Index end = first + count; first < end;) {
    const Index i = first / block, at = first % block, n = (std::min)(block - at, end - first);
    checkpoint.read(info, stored.take[static_cast<std::size_t>(i)] * block + at, out, n);
    first += n;
    out += n;
  }
}

}  // namespace detail

// Which stored tensor each parameter of a module comes from, put together parameter by parameter.
struct LoadPlan {
  std::vector<StoredAs> places;          // of each parameter
  std::vector<io::WantedTensor> wanted;  // each stored tensor once
  std::vector<std::size_t> wanted_at;    // of each parameter

  template <class = Deferred>
  void add(StoredAs place, std::vector<Index> shape, Role role) {
    std::size_t at = wanted.size();
    if (place.parts > 1) {
      at = 0;
      while (at < wanted.size() && wanted[at].name != place.name) ++at;
    }
    wanted_at.push_back(at);
    if (at == wanted.size()) {
      if (place.parts > 1) shape[0] = shape[0] / static_cast<Index>(place.take.size()) * place.parts;
      wanted.push_back(
          {place.name, std::move(shape), role == Role::parameter ? io::Presence::required : io::Presence::optional});
    }
    places.push_back(std::move(place));
  }
};

// Loads every parameter of `module` by its official name, or from where stored_as(name) says that another layout keeps
// it. All or nothing: when names are missing or unexpected, or shapes or dtypes do not fit, a CheckpointError lists
// them all and the module is as before. A derived buffer that the checkpoint lacks stays without values. A file of
// save_packed is taken as it is.
template <Module M, class Rename>
void load_parameters(M& module, const io::Checkpoint& checkpoint, const io::LoadOptions& options,
                     const Rename& stored_as) {
  if constexpr (requires { typename M::value_type; }) {
    if (is_packed_file(checkpoint)) {
      load_packed(module, checkpoint, options.threads);
      if (options.pack) pack(module, *options.pack);
      return;
    }
  }
  LoadPlan plan;
  for_each_parameter(module, [&](const auto& p) { plan.add(stored_as(p.name), p.shape, p.role); });
  const std::vector<const io::TensorInfo*> found = io::match(plan.wanted, checkpoint, options);
  M loaded = module;  // filled beside the module: a read error leaves it alone
  detail::Reads reads;
  std::size_t i = 0;
  for_each_parameter(loaded, [&](const auto& parameter) {
    const StoredAs& place = plan.places[i];
    const io::TensorInfo* const info = found[plan.wanted_at[i++]];
    if (info == nullptr) return;
    // All of p but its name outlives this walk.
    reads.add(info->bytes / place.parts, [&checkpoint, &options, info, &place, p = parameter] {
      const Index total = p.count();
      const auto read = [&](Index first, auto* out, Index count) {
        detail::read_stored(checkpoint, *info, place, total, first, out, count);
      };
      if (!options.pack || p.weight == nullptr) return read(0, p.data(), total);
      const Index row = p.weight->in();
      p.weight->pack(*options.pack, [&](Index first, Index rows, auto* out) { read(first * row, out, rows * row); });
    });
  });
  reads.run(options.threads);
  module = std::move(loaded);
}

template <Module M>
void load_parameters(M& module, const io::Checkpoint& checkpoint, const io::LoadOptions& options = {}) {
  load_parameters(module, checkpoint, options, [](const std::string& name) { return StoredAs{.name = name}; });
}

namespace detail {

// Where the values of a saved tensor come from: a parameter, or panels that are unpacked when their turn comes.
struct SavedValues {
  const void* source;
  void (*convert)(const void* source, Index first, Dtype dtype, std::byte* out, Index count);
  std::shared_ptr<const void> (*unpacked)(const void* weight);  // null where `source` is the values
};

template <Real T>
SavedValues saved_values(const ParameterRef<T>& p) {
  const auto convert_from = [](const void* source, Index first, Dtype dtype, std::byte* out, Index count) {
    aulos::convert(static_cast<const T*>(source) + first, dtype, out, count);
  };
  if (p.weight == nullptr || !p.weight->packed()) return {p.any().data(), convert_from, nullptr};
  return {p.weight, convert_from, [](const void* weight) -> std::shared_ptr<const void> {
            auto copy = std::make_shared<Weight<T>>(*static_cast<const Weight<T>*>(weight));
            copy->unpack();
            return {copy, std::as_const(*copy).rows().data()};
          }};
}

}  // namespace detail

// Writes every parameter under its official name, converted to `dtype` (F32, F64, BF16, F16) on the way: it takes no
// memory but the rows of one packed weight at a time. The old file, if any, is replaced only when the new one is
// complete.
template <Module M>
void save_parameters(const M& module, const std::string& path, Dtype dtype, const io::Metadata& metadata = {}) {
  std::vector<io::SaveTensor> tensors;
  std::vector<detail::SavedValues> values;
  for_each_parameter(module, [&](const auto& p) {
    tensors.push_back({p.name, dtype, p.shape});
    values.push_back(detail::saved_values(p));
  });
  std::shared_ptr<const void> unpacked;
  Index current = -1;
  const auto fill = [&](Index tensor, Index offset, std::span<std::byte> to) {
    const detail::SavedValues& from = values[static_cast<std::size_t>(tensor)];
    if (tensor != current) {
      unpacked.reset();
      if (from.unpacked != nullptr) unpacked = from.unpacked(from.source);
      current = tensor;
    }
    const Index width = bits(dtype) / 8;
    from.convert(unpacked ? unpacked.get() : from.source, offset / width, dtype, to.data(),
                 static_cast<Index>(to.size()) / width);
  };
  io::save(path, as_span(tensors), fill, metadata);
}

}  // namespace aulos::inline AULOS_ISA::nn
