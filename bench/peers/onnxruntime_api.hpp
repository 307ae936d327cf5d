// The functions of ONNX Runtime's C interface that the plugin calls. The interface is a table of pointers to which
// newer versions only append, so a place in it is a function for good.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace peers::ort {

struct Status;
struct Env;
struct Session;
struct SessionOptions;
struct MemoryInfo;
struct Value;
struct RunOptions;

struct ApiBase {
  void* const* (*get_api)(std::uint32_t version);
  const char* (*get_version)();
};

// Places in the table of version 1, and what stands there.
template <std::size_t kPlace, class F>
struct Function;
template <std::size_t kPlace, class R, class... A>
struct Function<kPlace, R(A...)> {
  static R call(void* const* table, A... arguments) {
    return reinterpret_cast<R (*)(A...)>(table[kPlace])(arguments...);
  }
};

using GetErrorMessage = Function<2, const char*(const Status*)>;
using CreateEnv = Function<3, Status*(int log_level, const char* log_id, Env**)>;
using CreateSessionFromArray =
    Function<8, Status*(const Env*, const void* model, std::size_t bytes, const SessionOptions*, Session**)>;
using Run = Function<9, Status*(Session*, const RunOptions*, const char* const* input_names, const Value* const* inputs,
                                std::size_t input_count, const char* const* output_names, std::size_t output_count,
                                Value** outputs)>;
using CreateSessionOptions = Function<10, Status*(SessionOptions**)>;
using SetGraphOptimizationLevel = Function<23, Status*(SessionOptions*, int level)>;
using SetIntraOpNumThreads = Function<24, Status*(SessionOptions*, int threads)>;
using SetInterOpNumThreads = Function<25, Status*(SessionOptions*, int threads)>;
using CreateTensorWithData = Function<49, Status*(const MemoryInfo*, void* data, std::size_t bytes,
                                                  const std::int64_t* shape, std::size_t rank, int type, Value**)>;
using CreateCpuMemoryInfo = Function<69, Status*(int allocator, int memory, MemoryInfo**)>;
using ReleaseStatus = Function<93, void(Status*)>;
using ReleaseMemoryInfo = Function<94, void(MemoryInfo*)>;
using ReleaseSession = Function<95, void(Session*)>;
using ReleaseValue = Function<96, void(Value*)>;
using ReleaseSessionOptions = Function<100, void(SessionOptions*)>;

inline constexpr int log_errors = 3, optimize_all = 99, arena_allocator = 1, default_memory = 0, float_elements = 1;

class Api {
 public:
  explicit Api(const char* file) {
    void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    const auto base = reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
    if (!base) return;
    table_ = base()->get_api(1);
    version_ = base()->get_version();
    if (table_) call<CreateEnv>(log_errors, "peers", &env_);
  }

  bool found() const { return table_ != nullptr; }
  const std::string& version() const { return version_; }
  const Env* env() const { return env_; }

  // Calls a function that may fail, or one that releases something.
  template <class F, class... A>
  void call(A... arguments) const {
    if constexpr (std::is_void_v<decltype(F::call(table_, arguments...))>) {
      F::call(table_, arguments...);
    } else if (Status* status = F::call(table_, arguments...)) {
      const std::string text = GetErrorMessage::call(table_, status);
      ReleaseStatus::call(table_, status);
      throw std::runtime_error(text);
    }
  }

 private:
  void* const* table_ = nullptr;
  std::string version_;
  Env* env_ = nullptr;
};

}  // namespace peers::ort
