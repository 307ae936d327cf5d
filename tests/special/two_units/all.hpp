// All of the library.
#pragma once

#include "aulos/aulos.hpp"
#include "aulos/models/sd3.hpp"
#include "aulos/registry.hpp"

// Each unit doubles a vector with a module of its own; main compares.
aulos::Tensor<float, 2> from_first(aulos::Context& context);
aulos::Tensor<float, 2> from_second(aulos::Context& context);
