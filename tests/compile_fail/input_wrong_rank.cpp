// A tensor of another rank than the module's argument.
// expect: Input<float, 3>
// max_lines: 16
#include "aulos/core/context.hpp"

void model(aulos::Context& context, aulos::Input<float, 3> x) { std::move(x).in(context); }

void wrong(aulos::Context& context, const aulos::Tensor<float, 4>& x) { model(context, x); }
