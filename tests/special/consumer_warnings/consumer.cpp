// A consumer's file that makes and runs a whole model. Compiled with every warning that consumers are known to turn into
// errors, without and with optimisation (some warnings come late); ours are not system headers here.
#include "aulos/aulos.hpp"
#include "aulos/models/sd3.hpp"
#include "aulos/registry.hpp"
#include "aulos/simd/batch.hpp"

namespace {

template <aulos::Real T>
double run(const std::string& path) {
  using Model = aulos::models::SD3<T>;
  aulos::Context context({.threads = 1});
  const Model model = Model::load(path);
  aulos::GradTape tape(context);
  const auto velocity =
      model(context, context.normal<T>(aulos::Shape<4>{1, 4, 8, 8}), context.normal<T>(aulos::Shape<3>{1, 3, 48}),
            context.normal<T>(aulos::Shape<2>{1, 24}), context.normal<T>(aulos::Shape<1>{1}));
  tape.backward(aulos::sum(velocity));
  model.save(path);
  return static_cast<double>(velocity(0, 0, 0, 0));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 0;
  return run<float>(argv[1]) + run<double>(argv[1]) > 0 ? 0 : 1;
}
