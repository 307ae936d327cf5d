// allocations WORK: does the work twice or more and fails when any repetition allocates.
#include <cstdlib>
#include <new>
#include <string_view>
#include <utility>

#include "aulos/autograd/tape.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/loss.hpp"
#include "aulos/train/optimizer.hpp"
#include "tests/models/sd3_support.hpp"
#include "tests/special/allocations/families.hpp"
#include "tests/special/allocations/hook.hpp"

namespace {

using aulos::Context;
using aulos::GradTape;
using aulos::Index;
using aulos::Shape;
using aulos_tests::allocations;
using aulos_tests::quiet;
using aulos_tests::SD3;
using aulos_tests::SD3Inputs;

bool forward(const char* what, const SD3& model, aulos::Numeric numeric = aulos::Numeric::exact) {
  bool right = true;
  for (const int threads : {1, 2}) {
    for (const Index batch : {1, 2}) {
      Context context({.threads = threads, .numeric = numeric});
      const SD3Inputs inputs(context, model.config, batch);
      right = quiet(what, threads, 1, [&] { inputs.run(context, model); }) && right;
    }
    Context large({.threads = threads, .numeric = numeric});  // enough tokens that every kernel shares its work
    const SD3Inputs inputs(large, model.config, 2, 24, 24, 77);
    right = quiet(what, threads, 1, [&] { inputs.run(large, model); }) && right;
  }
  return right;
}

// Forward and backward, with or without the update.
enum class Update { no, yes };

bool training(SD3 model, Update update) {
  bool right = true;
  for (const int threads : {1, 2}) {
    Context context({.threads = threads});
    const SD3Inputs inputs(context, model.config, 2);
    const auto target = context.normal<float>(Shape<4>{2, model.config.out_channels, 12, 8});
    GradTape tape(context);
    aulos::train::AdamW<float> optimizer;
    // Gradients of the first step live on while the second is computed, so that the pool has grown after two.
    const char* what = update == Update::yes ? "training" : "backward";
    right = quiet(what, threads, 2,
                  [&] {
                    tape.backward(aulos::mse_loss(inputs.run(context, model), target));
                    if (update == Update::yes) optimizer.step(model, tape, 1e-4);
                  }) &&
            right;
  }
  return right;
}

bool hook() {
  void* volatile memory = nullptr;  // or the compiler leaves the pairs out
  const auto counted = [&](auto&& take, auto&& give) {
    const long before = allocations();
    memory = take();
    const bool once = allocations() == before + 1 && memory != nullptr;
    give(memory);
    return once;
  };
  const auto free = [](void* p) { std::free(p); };
  const auto aligned = [] {
    void* p = nullptr;
    return posix_memalign(&p, 64, 64) == 0 ? p : nullptr;
  };
  constexpr std::align_val_t line{64};
  return counted([] { return std::malloc(100); }, free) && counted([] { return std::calloc(10, 10); }, free) &&
         counted([] { return std::realloc(nullptr, 10); }, free) &&
         counted([] { return std::aligned_alloc(64, 64); }, free) && counted(aligned, free) &&
         counted([] { return ::operator new(100); }, [](void* p) { ::operator delete(p); }) &&
         counted([] { return ::operator new(64, line); }, [](void* p) { ::operator delete(p, line); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  if (!aulos_tests::counts_allocations()) return 77;
  const std::string_view work = argv[1];
  if (work == "hook") return hook() ? 0 : 1;
  if (work == "inputs") return aulos_tests::quiet_inputs() ? 0 : 1;
  if (work == "flux") return aulos_tests::quiet_flux() ? 0 : 1;
  if (work == "dit") return aulos_tests::quiet_dit() ? 0 : 1;
  if (work == "vit") return aulos_tests::quiet_vit() ? 0 : 1;
  if (work == "sepformer") return aulos_tests::quiet_sepformer() ? 0 : 1;
  if (work == "dprnn") return aulos_tests::quiet_dprnn() ? 0 : 1;
  SD3 model = aulos_tests::random_sd3(aulos_tests::small_sd35());
  if (work == "forward") return forward("forward", model) ? 0 : 1;
  if (work == "backward") return training(std::move(model), Update::no) ? 0 : 1;
  if (work == "training") return training(std::move(model), Update::yes) ? 0 : 1;
  if (work == "packed") {
    aulos::nn::pack(model);
    return forward("packed", model) ? 0 : 1;
  }
  if (work == "packed_bf16") {
    aulos::nn::pack(model, aulos::Numeric::bf16);
    return forward("packed bf16", model) ? 0 : 1;
  }
  for (const aulos::Numeric numeric : {aulos::Numeric::bf16, aulos::Numeric::int8}) {
    if (work != name_of(numeric)) continue;
    aulos::nn::pack(model, numeric);
    return forward(name_of(numeric), model, numeric) ? 0 : 1;
  }
  return 2;
}
