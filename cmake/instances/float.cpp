#include "instances.hpp"

#define AULOS_INSTANCE template
#define AULOS_REAL float
#include "list.inc"
