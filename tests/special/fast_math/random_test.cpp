// Random values don't depend on floating-point flags.
#include "tests/core/random_test.cpp"
