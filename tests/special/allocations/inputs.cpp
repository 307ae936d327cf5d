#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>

#include "aulos/core/context.hpp"
#include "tests/special/allocations/hook.hpp"

namespace aulos_tests {

bool quiet_inputs() {
  Eigen::Tensor<float, 3, Eigen::RowMajor> rows(5, 7, 33);
  Eigen::Tensor<float, 3> columns(5, 7, 33);
  rows.setRandom();
  columns.setRandom();
  aulos::Context context({.threads = 2});
  return quiet("inputs", 2, 1, [&] {
    using Input = aulos::Input<float, 3>;
    const auto a = Input(rows).in(context);
    const auto b = Input(columns).in(context);
    const auto c = Input(rows * 2.0f + rows).in(context);
    const auto d = Input(columns.cwiseMax(0.0f)).in(context);
    a.eigen() = b.eigen() + c.eigen() * d.eigen();
  });
}

}  // namespace aulos_tests
