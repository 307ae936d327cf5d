// The state of a training run as named tensors of one safetensors file, from which it goes on bit for bit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/dtype.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/random.hpp"
#include "aulos/core/tensor.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/safetensors.hpp"
#include "aulos/nn/load.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/train/ema.hpp"
#include "aulos/train/optimizer.hpp"

namespace aulos::inline AULOS_ISA::train {

// How an optimizer's Moments are called in the file, as in PyTorch's state dictionaries.
template <class Optimizer>
struct MomentNames;
template <Real T>
struct MomentNames<AdamW<T>> {
  using value_type = T;
  static constexpr std::string_view first = "exp_avg.", second = "exp_avg_sq.";
};
template <Real T>
struct MomentNames<Sgd<T>> {
  using value_type = T;
  static constexpr std::string_view first = "momentum_buffer.", second = "";
};

// An optimizer whose state consists of Moments, and perhaps a count of steps.
template <class O>
concept MomentOptimizer = requires(const O& optimizer) {
  typename MomentNames<O>::value_type;
  optimizer.state();
};

namespace detail {

template <class O>
inline constexpr bool counts_steps = requires(const O& optimizer) {
  optimizer.steps();
};

}  // namespace detail

// Collects what is to be saved. It refers to modules, optimizers and vectors, which must stay as they are up to save().
//     StateWriter state;
//     state.add("model.", model);
//     state.add("ema.", ema);
//     state.add("optimizer.", optimizer);
//     state.add("step", step);
//     state.save("run.safetensors");
class StateWriter {
 public:
  io::Metadata metadata;

  // Every parameter as prefix + its name, in its own type.
  template <nn::Module M>
  void add(std::string_view prefix, const M& module) {
    nn::for_each_parameter(module, [&](const auto& p) {
      if (p.weight != nullptr && p.weight->packed())
        throw Error("state: " + p.name + " is packed for inference: unpack first");
      const auto x = p.any();
      if (!x.buffer()->ready) {
        if (p.role == nn::Role::derived_buffer) return;
        throw Error("state: " + p.name + " has no values");
      }
      add_tensor(join(prefix, p.name), p.shape, x.data(), static_cast<std::size_t>(p.count()));
    });
  }
  // The average's parameters, and prefix + "updates".
  template <nn::Module M>
  void add(std::string_view prefix, const Ema<M>& ema) {
    add(prefix, ema.model());
    add(join(prefix, "updates"), ema.updates());
  }
  // prefix + "step.NAME", "exp_avg.NAME" and so on for every parameter, and prefix + "steps".
  template <MomentOptimizer O>
  void add(std::string_view prefix, const O& optimizer) {
    using Names = MomentNames<O>;
    for (const auto& s : optimizer.state()) {
      add(join(prefix, "step.") + s.name, s.steps);
      const auto add_moment = [&](std::string_view kind, const auto& values) {
        if (values.empty()) return;
        const Index count = static_cast<Index>(values.size());
        add_tensor(join(prefix, kind) + s.name, {&count, 1}, values.data(), values.size());
      };
      add_moment(Names::first, s.first);
      add_moment(Names::second, s.second);
    }
    if constexpr (detail::counts_steps<O>) add(join(prefix, "steps"), optimizer.steps());
  }
  template <class X>
  requires nn::Module<X> || MomentOptimizer<X>
  void add(std::string_view prefix, const X&& temporary) = delete;  // gone before save()
  template <nn::Module M>
  void add(std::string_view prefix, const Ema<M>&& temporary) = delete;
  template <Element T>
  void add(std::string_view name, const std::vector<T>&& temporary) = delete;

  template <class = Deferred>
  void add(std::string_view name, Index value) {
    add_copy(name, std::array{value});
  }
  template <class = Deferred>
  void add(std::string_view name, double value) {
    add_copy(name, std::array{value});
  }
  template <Element T>
  void add(std::string_view name, const std::vector<T>& values) {
    const Index count = static_cast<Index>(values.size());
    add_tensor(std::string(name), {&count, 1}, values.data(), values.size());
  }
  // Seed, stream and position.
  template <class = Deferred>
  void add(std::string_view name, const Random& random) {
    const auto bits = [](std::uint64_t x) { return static_cast<Index>(x); };
    add_copy(name, std::array{bits(random.seed()), bits(random.stream()), bits(random.position())});
  }

  // All or nothing: a run that is killed here leaves the old file.
  template <class = Deferred>
  void save(const std::string& path) const {
    io::save(path, as_span(tensors_), metadata);
  }

 private:
  static std::string join(std::string_view prefix, std::string_view name) { return std::string(prefix).append(name); }
  static std::string join(std::string_view prefix, const nn::ParameterName& name) { return prefix + name; }

  template <class T>
  void add_tensor(std::string name, std::span<const Index> shape, const T* values, std::size_t count) {
    tensors_.push_back({std::move(name),
                        dtype_of<T>,
                        std::vector<Index>(shape.begin(), shape.end()),
                        {reinterpret_cast<const std::byte*>(values), count * sizeof(T)}});
  }
  template <class T, std::size_t Count>
  void add_copy(std::string_view name, const std::array<T, Count>& values) {
    std::vector<std::byte> bytes(sizeof(values));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    copies_.push_back(std::move(bytes));  // whose bytes stay where they are when `copies_` grows
    tensors_.push_back({std::string(name), dtype_of<T>, {static_cast<Index>(Count)}, copies_.back()});
  }

  std::vector<io::SaveTensor> tensors_;
  std::vector<std::vector<std::byte>> copies_;
};

// Reads such a file. Each read fills its argument as a whole or throws CheckpointError, naming what does not fit.
class StateReader {
 public:
  template <class = Deferred>
  explicit StateReader(const std::string& path) : file_(io::Checkpoint::open(path)) {}

  const io::Checkpoint& file() const noexcept { return file_; }
  const io::Metadata& metadata() const { return file_.metadata(); }

  template <nn::Module M>
  void read(std::string_view prefix, M& module) {
    M loaded = module;
    nn::for_each_parameter(loaded, [&](const auto& p) {
      const std::string name = prefix + p.name;
      if (p.role == nn::Role::derived_buffer && file_.find(name) == nullptr) return;
      read_tensor(name, p.shape, p.data(), p.count());
    });
    module = std::move(loaded);
  }
  template <nn::Module M>
  void read(std::string_view prefix, Ema<M>& ema) {
    M average = ema.model();
    Index updates = 0;
    read(prefix, average);
    read(std::string(prefix) + "updates", updates);
    ema.restore(std::move(average), updates);
  }
  // The optimizer of `module`, in the order of whose parameters it keeps its state.
  template <MomentOptimizer O, nn::Module M>
  void read(std::string_view prefix, O& optimizer, const M& module) {
    using Names = MomentNames<O>;
    using T = typename Names::value_type;
    const std::string start(prefix);
    std::vector<Moments<T>> state;
    nn::for_each_parameter(module, [&](const auto& p) {
      const std::string name = p.name;
      if (file_.find(start + "step." + name) == nullptr) return;
      Moments<T>& s = state.emplace_back();
      s.name = name;
      read(start + "step." + name, s.steps);
      const auto read_moment = [&](std::string_view kind, std::vector<T>& values) {
        const std::string key = std::string(start).append(kind) + name;
        if (kind.empty() || file_.find(key) == nullptr) return;
        values.resize(static_cast<std::size_t>(p.count()));
        const Index count = p.count();
        read_tensor(key, {&count, 1}, values.data(), count);
      };
      read_moment(Names::first, s.first);
      read_moment(Names::second, s.second);
    });
    if constexpr (detail::counts_steps<O>) {
      Index steps = 0;
      read(start + "steps", steps);
      optimizer.restore(steps, std::move(state));
    } else {
      optimizer.restore(std::move(state));
    }
  }
  template <class = Deferred>
  void read(std::string_view name, Index& value) {
    value = read_array<Index, 1>(name)[0];
  }
  template <class = Deferred>
  void read(std::string_view name, double& value) {
    value = read_array<double, 1>(name)[0];
  }
  template <Element T>
  void read(std::string_view name, std::vector<T>& values) {
    const io::TensorInfo& info = file_.info(name);
    std::vector<T> loaded(static_cast<std::size_t>(info.count));
    read_tensor(std::string(name), {&info.count, 1}, loaded.data(), info.count);
    values = std::move(loaded);
  }
  template <class = Deferred>
  void read(std::string_view name, Random& random) {
    const auto bits = read_array<Index, 3>(name);
    random = Random(static_cast<std::uint64_t>(bits[0]), static_cast<std::uint64_t>(bits[1]));
    random.seek(static_cast<std::uint64_t>(bits[2]));
  }

  // Throws CheckpointError where the file holds more than was read: the state of another program or model.
  template <class = Deferred>
  void finish() const {
    if (read_ == file_.tensors().size()) return;
    throw CheckpointError(concat_text({io::printable(file_.path(), 4096), ": expected ", read_, " tensors, got ",
                                       file_.tensors().size(), ": not the state of this run"}));
  }

 private:
  template <class T>
  void read_tensor(const std::string& name, std::span<const Index> shape, T* values, Index count) {
    const io::TensorInfo& info = file_.info(name);
    const bool fits = info.dtype == dtype_of<T> && info.shape.size() == shape.size() &&
                      std::memcmp(info.shape.data(), shape.data(), shape.size() * sizeof(Index)) == 0;
    if (!fits)
      throw CheckpointError(concat_text({io::printable(file_.path(), 4096), ": ", io::quote(name), ": expected ",
                                         aulos::name(dtype_of<T>), " ", io::shape_text(shape), ", got ",
                                         aulos::name(info.dtype), " ", io::shape_text(info.shape)}));
    file_.read(info, values, count);
    ++read_;
  }
  template <class T, std::size_t Count>
  std::array<T, Count> read_array(std::string_view name) {
    std::array<T, Count> values{};
    const Index count = Count;
    read_tensor(std::string(name), {&count, 1}, values.data(), count);
    return values;
  }

  io::Checkpoint file_;
  std::size_t read_ = 0;
};

}  // namespace aulos::inline AULOS_ISA::train
