// Our modules, called as a user calls them.
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aulos/attention/qkv.hpp"
#include "aulos/autograd/tape.hpp"
#include "aulos/core/context.hpp"
#include "aulos/core/plan.hpp"
#include "aulos/models/dit.hpp"
#include "aulos/models/image_text_block.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/activation.hpp"
#include "bench/peers/peer_aulos.hpp"

namespace peers {
namespace {

using aulos::Index;
using Block = aulos::models::ImageTextBlock<float>;

template <int Rank>
aulos::Tensor<float, Rank> tensor(aulos::Context& context, const Input& input) {
  aulos::Shape<Rank> shape;
  for (int axis = 0; axis < Rank; ++axis) shape.extents[axis] = input.shape[static_cast<std::size_t>(axis)];
  return context.from(shape, input.data);
}

template <int Rank>
void copy_out(const aulos::Tensor<float, Rank>& from, float* to) {
  std::memcpy(to, from.data(), static_cast<std::size_t>(from.count()) * sizeof(float));
}

// The parameters of the inputs' names.
template <class Module>
void set_parameters(Module& module, const Work& work) {
  aulos::nn::for_each_parameter(module, [&](const auto& parameter) {
    const Input& input = work[parameter.name.text()];
    if (input.count() != parameter.count()) throw std::length_error(input.name);
    std::memcpy(parameter.data(), input.data, static_cast<std::size_t>(input.count()) * sizeof(float));
  });
}

Block block_of(const Work& work) {
  const Index width = work.extents[0];
  aulos::nn::PerHead<aulos::nn::RmsNorm<float>> qk_norm;
  qk_norm.norm = aulos::nn::RmsNorm<float>(head_width, norm_eps);
  const aulos::attention::SeparateQkv<float> qkv(width, width, {width / head_width, head_width}, aulos::nn::Bias::yes,
                                                 qk_norm);
  Block block(width, qkv, aulos::models::TextStream::updated);
  set_parameters(block, work);
  return block;
}

class BlockJob final : public Job {
 public:
  explicit BlockJob(const Work& work)
      : block_(block_of(work)),
        context_({.threads = work.threads, .numeric = aulos_numeric(work.dtype)}),
        image_(tensor<3>(context_, work["image"])),
        text_(tensor<3>(context_, work["text"])),
        c_(tensor<2>(context_, work["c"])) {
    aulos::nn::pack(block_, aulos_numeric(work.dtype));
  }

  void run() override { out_ = block_({image_, text_}, silu(c_)); }
  void result(std::span<float> out) override {
    copy_out(out_[Block::image], out.data());
    copy_out(out_[Block::text], out.data() + out_[Block::image].count());
  }

 private:
  Block block_;
  aulos::Context context_;
  aulos::Tensor<float, 3> image_, text_;
  aulos::Tensor<float, 2> c_;
  Block::Streams out_;
};

// The gradients of all parameters and inputs; its result is that of the inputs' tokens. The cotangent is the tokens.
class BlockBackwardJob final : public Job {
 public:
  explicit BlockBackwardJob(const Work& work)
      : block_(block_of(work)),
        context_({.threads = work.threads, .reserve_bytes = held_bytes(work)}),
        tape_(context_),
        step_(context_, work) {}

  bool before() override {
    step_.forward(block_, tape_);
    return true;
  }
  void run() override { step_.backward(tape_); }
  void result(std::span<float> out) override {
    copy_out(tape_.gradient(step_.image), out.data());
    copy_out(tape_.gradient(step_.text), out.data() + step_.image.count());
  }

 private:
  struct Step {
    aulos::Tensor<float, 3> image, text;
    aulos::Tensor<float, 2> c;
    Block::Streams out;

    Step(aulos::Context& context, const Work& work)
        : image(tensor<3>(context, work["image"])),
          text(tensor<3>(context, work["text"])),
          c(tensor<2>(context, work["c"])) {}
    void forward(const Block& block, aulos::GradTape& tape) {
      tape.watch(image);
      tape.watch(text);
      tape.watch(c);
      out = block({image, text}, silu(c));
    }
    void backward(aulos::GradTape& tape) const {
      const std::array seeds{aulos::Seed<float>{out[Block::image].any(), image.any()},
                             aulos::Seed<float>{out[Block::text].any(), text.any()}};
      tape.backward(std::span<const aulos::Seed<float>>(seeds));
    }
  };

  // What a few steps take, so that none of those measured asks the system for memory.
  std::size_t held_bytes(const Work& work) const {
    const auto step = [&](aulos::Context& dry) {
      Step s(dry, work);
      aulos::GradTape tape(dry);
      for (int i = 0; i < 3; ++i) {
        s.forward(block_, tape);
        s.backward(tape);
      }
    };
    return aulos::plan(step).held_bytes;
  }

  Block block_;
  aulos::Context context_;
  aulos::GradTape tape_;
  Step step_;
};

class PolicyJob final : public Job {
 public:
  using Model = aulos::models::DiTTransformer<float>;

  explicit PolicyJob(const Work& work)
      : model_({.hidden_size = policy_width, .depth = policy_depth, .num_heads = policy_heads}, policy_actions),
        context_({.threads = work.threads, .numeric = aulos_numeric(work.dtype)}),
        x_(tensor<3>(context_, work["x"])),
        condition_(tensor<2>(context_, work["condition"])),
        label_(context_.zeros<float>(aulos::Shape<2>{1, policy_width})) {
    set_parameters(model_, work);
    aulos::nn::pack(model_, aulos_numeric(work.dtype));
  }

  void run() override { out_ = model_(context_, x_, condition_, label_); }
  void result(std::span<float> out) override { copy_out(out_, out.data()); }

 private:
  Model model_;
  aulos::Context context_;
  aulos::Tensor<float, 3> x_;
  aulos::Tensor<float, 2> condition_, label_;
  aulos::Tensor<float, 3> out_;
};

}  // namespace

std::unique_ptr<Job> prepare_aulos_model(const Work& work) {
  switch (work.kind) {
    case Kind::block:
      return std::make_unique<BlockJob>(work);
    case Kind::block_backward:
      return std::make_unique<BlockBackwardJob>(work);
    case Kind::policy_step:
      return std::make_unique<PolicyJob>(work);
    default:
      return nullptr;
  }
}

}  // namespace peers
