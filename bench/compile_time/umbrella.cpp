// What every user of the umbrella pays.
#include "aulos/aulos.hpp"
