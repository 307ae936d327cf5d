// The ops that most modules use, compiled once for a program of many source files instead of once for each: half of
// the compile time of a model's file. A precompiled header; see cmake/aulosInstances.cmake.
#pragma once

#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/attention.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/linear.hpp"
#include "aulos/ops/matmul.hpp"
#include "aulos/ops/modulate.hpp"
#include "aulos/ops/norm.hpp"

#define AULOS_INSTANCE extern template
#define AULOS_REAL float
#include "list.inc"
#undef AULOS_REAL
#define AULOS_REAL double
#include "list.inc"
#undef AULOS_REAL
#undef AULOS_INSTANCE
