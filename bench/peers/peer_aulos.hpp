// The parts of our plugin.
#pragma once

#include <memory>

#include "aulos/core/numeric.hpp"
#include "bench/peers/plugin.hpp"

namespace peers {

constexpr aulos::Numeric aulos_numeric(Dtype dtype) {
  return dtype == Dtype::f32    ? aulos::Numeric::exact
         : dtype == Dtype::bf16 ? aulos::Numeric::bf16
                                : aulos::Numeric::int8;
}

std::unique_ptr<Job> prepare_aulos_kernel(const Work& work);
std::unique_ptr<Job> prepare_aulos_model(const Work& work);
std::unique_ptr<Job> prepare_copy(const Work& work);  // copies x to y
std::unique_ptr<Job> prepare_read(const Work& work);  // reads as many bytes as the weight, or keys and values, have
std::unique_ptr<Job> prepare_exp(const Work& work);   // takes e^x as often as a scan does

}  // namespace peers
