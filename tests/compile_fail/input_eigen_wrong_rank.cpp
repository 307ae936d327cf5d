// An Eigen tensor of another rank than the module's argument.
// expect: the Eigen tensor has another rank than the aulos tensor it becomes
// max_lines: 16
#include <unsupported/Eigen/CXX11/Tensor>

#include "aulos/core/context.hpp"

// As a model takes its arguments.
void model(aulos::Context& context, aulos::Input<float, 3> x) { std::move(x).in(context); }

void wrong(aulos::Context& context, const Eigen::Tensor<float, 4>& x) { model(context, x); }
