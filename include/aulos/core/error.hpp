// The exceptions of the library. A message says what, where, expected and got.
#pragma once

#include <stdexcept>
#include <string>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA {

// Base of every exception the library throws, std::bad_alloc excepted.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// An argument's shape does not fit: names the op, the tensor, expected and got.
class ShapeError : public Error {
 public:
  using Error::Error;
};

// A file is damaged, hostile or of another model: names file, tensor and byte.
class CheckpointError : public Error {
 public:
  using Error::Error;
};

// A configuration is contradictory or incomplete: names the field.
class ConfigError : public Error {
 public:
  using Error::Error;
};

}  // namespace aulos::inline AULOS_ISA
