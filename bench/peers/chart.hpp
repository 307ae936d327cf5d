// A chart: the roofline with a point for each measurement, and bars of the shares of the peak.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace peers {

struct Chart {
  struct Point {
    double intensity, gflops;  // operations by byte that must be moved; 10^9 a second
    std::string title;
  };
  struct Bar {
    std::string label;
    double share;           // of the peak
    double peer_share = 0;  // of the best peer, if there is one
    std::string peer = "";
  };

  std::map<std::string, double> peaks{};  // GFLOP/s, by instruction
  double memory = 0;                      // bytes a second; 0: not known
  std::vector<Point> points{};
  std::vector<Bar> bars{};
};

// SVG.
std::string draw(const Chart& chart);

}  // namespace peers
