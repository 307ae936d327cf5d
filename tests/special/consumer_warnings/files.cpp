// A consumer's file that makes, loads and saves a whole model.
#include <string>

#include "aulos/aulos.hpp"
#include "aulos/models/sd3.hpp"
#include "aulos/registry.hpp"

void convert_model(const std::string& from, const std::string& to) {
  aulos::models::SD3<float>::load(from).save(to, aulos::Dtype::bf16);
}
