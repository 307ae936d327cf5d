// What `inspect` says of a file: for people, or as JSON.
#pragma once

#include <string>

#include "aulos/io/checkpoint.hpp"
#include "inspect/recognise.hpp"

namespace inspect {

struct ReportOptions {
  Request request;
  Index depth = 3;    // levels of modules
  bool full = false;  // every tensor, nothing folded, every difference
};

// Several lines. The names in them come from the file, and are fit for a terminal.
std::string text_report(const aulos::io::Checkpoint& checkpoint, const Recognition& recognition,
                        const ReportOptions& options);

// One line: an object.
std::string json_report(const aulos::io::Checkpoint& checkpoint, const Recognition& recognition,
                        const ReportOptions& options);

}  // namespace inspect
