// An Eigen tensor of another scalar type than the module's argument.
// expect: the Eigen tensor has another scalar type. use .template cast<T>
// max_lines: 16
#include <unsupported/Eigen/CXX11/Tensor>

#include "aulos/core/context.hpp"

void model(aulos::Context& context, aulos::Input<float, 3> x) { std::move(x).in(context); }

void wrong(aulos::Context& context, const Eigen::Tensor<double, 3>& x) { model(context, x); }
