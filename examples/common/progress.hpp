// A progress bar with the time left, on the error stream so that standard output stays clean.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace aulos_examples {

// `value` with `decimals` digits after a point, whatever the locale: 0.5 -> "0.50".
std::string format_number(double value, int decimals);

// Seconds for people: "0.4 s", "12 s", "3 min 05 s", "1 h 02 min".
std::string format_duration(double seconds);

// One state of the bar, without line end: "drawing [=====>    ] 12/30  1.8 s left".
std::string progress_line(std::string_view label, std::int64_t done, std::int64_t total, double elapsed_seconds);

// On a terminal the bar is redrawn in place; elsewhere (a log file) at most ten plain lines appear.
class Progress {
 public:
  Progress(std::string label, std::int64_t total, std::FILE* stream = stderr);
  Progress(std::string label, std::int64_t total, std::FILE* stream, bool terminal);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // ends an unfinished bar's line, so that an error message starts on its own

  void step(std::int64_t steps = 1);
  // Of work whose extent shows only on the way, and what to say behind the bar from now on.
  void set_total(std::int64_t total);
  void set_note(std::string note) { note_ = std::move(note); }
  double elapsed_seconds() const;

 private:
  void print();

  std::string label_, note_;
  std::int64_t total_;
  std::int64_t done_ = 0;
  std::FILE* stream_;
  bool terminal_;
  bool line_open_ = false;
  std::int64_t printed_tenths_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace aulos_examples
