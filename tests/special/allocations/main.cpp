// allocations WORK: does the work twice or more and fails when any repetition allocates.
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "aulos/autograd/tape.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/loss.hpp"
#include "aulos/train/optimizer.hpp"
#include "tests/models/sd3_support.hpp"
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

bool forward(const char* what, const SD3& model) {
  bool right = true;
  for (const int threads : {1, 2}) {
    for (const Index batch : {1, 2}) {
      Context context({.threads = threads});
      const SD3Inputs inputs(context, model.config, batch);
      right = quiet(what, threads, 1, [&] { inputs.run(context, model); }) && right;
    }
    Context large({.threads = threads});  // enough tokens that every kernel shares its work
    const SD3Inputs inputs(large, model.config, 2, 24, 24, 77);
    right = quiet(what, threads, 1, [&] { inputs.run(large, model); }) && right;
  }
  return right;
}

bool training(SD3 model) {
  bool right = true;
  for (const int threads : {1, 2}) {
    Context context({.threads = threads});
    const SD3Inputs inputs(context, model.config, 2);
    const auto target = context.normal<float>(Shape<4>{2, model.config.out_channels, 12, 8});
    GradTape tape(context);
    aulos::train::AdamW<float> optimizer;
    // Gradients of the first step live on while the second is computed, so that the pool has grown after two.
    right = quiet("training", threads, 2, [&] {
              tape.backward(aulos::mse_loss(inputs.run(context, model), target));
              optimizer.step(model, tape, 1e-4);
            }) &&
            right;
  }
  return right;
}

bool hook() {
  const long before = allocations();
  const std::vector<int> several(100);
  const bool seen = allocations() == before + 1;
  std::free(std::malloc(several.size()));
  ::operator delete(::operator new(64, std::align_val_t{64}), std::align_val_t{64});
  void* memory = nullptr;
  const bool given = posix_memalign(&memory, 64, 64) == 0;
  std::free(memory);
  return seen && given && allocations() >= before + 4;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  if (!aulos_tests::counts_allocations()) return 77;
  const std::string_view work = argv[1];
  if (work == "hook") return hook() ? 0 : 1;
  if (work == "inputs") return aulos_tests::quiet_inputs() ? 0 : 1;
  SD3 model = aulos_tests::random_sd3(aulos_tests::small_sd35());
  if (work == "forward") return forward("forward", model) ? 0 : 1;
  if (work == "training") return training(std::move(model)) ? 0 : 1;
  if (work == "packed") {
    aulos::nn::pack(model);
    return forward("packed", model) ? 0 : 1;
  }
  if (work == "packed_bf16") {
    aulos::nn::pack(model, aulos::kernels::PanelType::bf16);
    return forward("packed bf16", model) ? 0 : 1;
  }
  return 2;
}
