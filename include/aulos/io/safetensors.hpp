// Everything about safetensors files: open, read, compare with a model, save.
#pragma once

#include "aulos/io/checkpoint.hpp"
#include "aulos/io/load_report.hpp"
#include "aulos/io/save.hpp"
