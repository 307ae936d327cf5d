// What a set of measurements gives the page: a section with a chart.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/peers/chart.hpp"

namespace peers {

struct Section {
  std::string mark;  // which of the page's sections this replaces
  std::string text;
  std::string image;  // its file name
  Chart chart;
};

// "AMD EPYC (family 25 model 17)" -> "benchmarks-amd-epyc-family-25-model-17" + suffix + ".svg".
std::string image_name(std::string_view processor, std::string_view suffix = "");

// One for each processor.
struct Measurement;
struct Run;
std::vector<Section> sections_of(const std::vector<Measurement>& measurements);
std::vector<Section> sections_of(const std::vector<Run>& runs);

}  // namespace peers
