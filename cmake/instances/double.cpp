#include "instances.hpp"

#define AULOS_INSTANCE template
#define AULOS_REAL double
#include "list.inc"
