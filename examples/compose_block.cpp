// The attention of SD3's dual-stream block is one template argument. With softmax, differential and linear attention:
// its gradients against central differences, then the time of its forward pass.    compose_block [IMAGE TOKENS]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <set>
#include <tuple>
#include <vector>

#include "aulos/attention/differential.hpp"
#include "aulos/attention/linear.hpp"
#include "aulos/autograd/gradcheck.hpp"
#include "aulos/models/image_text_block.hpp"
#include "aulos/nn/initialise.hpp"

using namespace aulos;

template <Real T, class Mixer>
struct Trial {
  models::ImageTextBlock<T, stream::Joint<Mixer>> block;
  std::tuple<Tensor<T, 3>, Tensor<T, 3>, Tensor<T, 2>> inputs;  // image, text, condition

  Trial(Context& context, const Mixer& mixer, Index c, Index heads, Index image, Index text)
      : block(c, {c, c, {heads, c / heads}}, models::TextStream::updated, {mixer}),
        inputs(context.normal<T>(Shape<3>{1, image, c}), context.normal<T>(Shape<3>{1, text, c}),
               context.normal<T>(Shape<2>{1, c})) {
    nn::initialise_normal(block, context.random(), 0.3);
  }
  auto operator()(auto image, auto text, auto c) const { return block({image, text}, c); }
};

int main(int argc, char** argv) {
  const Index image = argc > 1 ? std::atol(argv[1]) : 1024, text = 154;
  Context context;
  std::vector<std::tuple<const char*, std::function<void()>, std::multiset<double>>> rows;
  bool passed = true;
  const auto compose = [&]<class Small, class Large>(const char* name, const Small& small, const Large& large) {
    Trial<double, Small> checked(context, small, 8, 2, 3, 2);
    std::vector<GradcheckParameter> all;
    nn::for_each_parameter(checked.block, [&](auto p) { all.push_back({p.name, p.data(), p.count(), p.any()}); });
    const auto result = gradcheck(context, checked, checked.inputs, all);
    std::printf("%-13s %s\n", name, to_string(result).c_str());
    passed = passed && result;
    Trial<float, Large> timed(context, large, 768, 12, image, text);
    rows.push_back({name, [timed = std::move(timed)] { std::apply(timed, timed.inputs); }, {}});
  };
  compose("softmax", attention::Softmax(), attention::Softmax());
  compose("differential", attention::Differential<double>(4, 0), attention::Differential<float>(64, 0));
  compose("linear", attention::Linear(), attention::Linear());
  for (std::size_t i = 0; i < 7 * rows.size(); ++i) {  // in turn: all meet the same machine
    auto& [name, forward, ms] = rows[i % rows.size()];
    const auto start = std::chrono::steady_clock::now();
    forward();
    ms.insert(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  for (auto& [name, forward, ms] : rows) std::printf("%-13s %8.2f ms, median of 7\n", name, *std::next(ms.begin(), 3));
  return passed ? 0 : 1;
}
