// A program that defines the macros of windows.h, termios.h, complex.h, Arduino.h and of its own before it includes
// ours.
#include "foreign_headers.hpp"  // their names are not ours to choose

#define AULOS_TEST_POISON ] a name of the headers is a macro of the program [

#define min(a, b) AULOS_TEST_POISON
#define max(a, b) AULOS_TEST_POISON
#define small AULOS_TEST_POISON
#define near AULOS_TEST_POISON
#define far AULOS_TEST_POISON
#define interface AULOS_TEST_POISON
#define ERROR AULOS_TEST_POISON
#define IN AULOS_TEST_POISON
#define OUT AULOS_TEST_POISON
#define OPTIONAL AULOS_TEST_POISON
#define DELETE AULOS_TEST_POISON
#define CHECK(x) AULOS_TEST_POISON
#define major(x) AULOS_TEST_POISON
#define minor(x) AULOS_TEST_POISON
#define B AULOS_TEST_POISON
#define B0 AULOS_TEST_POISON
#define C AULOS_TEST_POISON
#define D AULOS_TEST_POISON
#define EPS AULOS_TEST_POISON
#define H AULOS_TEST_POISON
#define I AULOS_TEST_POISON
#define N AULOS_TEST_POISON
#define PI AULOS_TEST_POISON
#define T1 AULOS_TEST_POISON

#include "aulos/aulos.hpp"
#include "aulos/models/dit.hpp"
#include "aulos/models/flux.hpp"
#include "aulos/models/sd3.hpp"
#include "aulos/models/sepformer.hpp"
#include "aulos/models/vit.hpp"
#include "aulos/registry.hpp"
