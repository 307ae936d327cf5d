#include "progress.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace aulos_examples {
namespace {

bool is_terminal(std::FILE* stream) {
#if defined(_WIN32)
  return _isatty(_fileno(stream)) != 0;
#else
  return isatty(fileno(stream)) != 0;
#endif
}

std::string two_digits(std::int64_t value) { return (value < 10 ? "0" : "") + std::to_string(value); }

}  // namespace

std::string format_number(double value, int decimals) {
  std::array<char, 400> text{};  // the longest double has 309 digits before the point
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, decimals);
  return end.ec == std::errc() ? std::string(text.data(), end.ptr) : std::string("?");
}

std::string format_duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e15)) return "?";
  if (seconds < 9.95) return format_number(seconds, 1) + " s";
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return std::to_string(whole / 60) + " min " + two_digits(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + two_digits(whole / 60 % 60) + " min";
}

std::string progress_line(std::string_view label, std::int64_t done, std::int64_t total, double elapsed_seconds) {
  constexpr std::int64_t kWidth = 30;
  total = std::max<std::int64_t>(total, 1);
  done = std::clamp<std::int64_t>(done, 0, total);
  const auto filled = static_cast<std::int64_t>(static_cast<double>(done) / static_cast<double>(total) * kWidth);
  std::string line(label);
  line += " [" + std::string(static_cast<std::size_t>(filled), '=');
  if (filled < kWidth) line += '>' + std::string(static_cast<std::size_t>(kWidth - filled - 1), ' ');
  line += "] " + std::to_string(done) + '/' + std::to_string(total) + "  ";
  if (done == total) return line + "in " + format_duration(elapsed_seconds);
  if (done == 0) return line + "...";
  return line + format_duration(elapsed_seconds / static_cast<double>(done) * static_cast<double>(total - done)) +
         " left";
}

Progress::Progress(std::string label, std::int64_t total, std::FILE* stream)
    : Progress(std::move(label), total, stream, is_terminal(stream)) {}

Progress::Progress(std::string label, std::int64_t total, std::FILE* stream, bool terminal)
    : label_(std::move(label)), total_(std::max<std::int64_t>(total, 1)), stream_(stream), terminal_(terminal) {
  if (terminal_) print();
}

Progress::~Progress() {
  if (line_open_) std::fputc('\n', stream_);
}

void Progress::step(std::int64_t steps) {
  if (done_ == total_ || steps <= 0) return;
  done_ = std::min(total_, done_ + std::min(steps, total_));
  const auto tenths = static_cast<std::int64_t>(static_cast<double>(done_) / static_cast<double>(total_) * 10);
  if (!terminal_ && tenths == printed_tenths_) return;
  printed_tenths_ = tenths;
  print();
}

void Progress::set_total(std::int64_t total) { total_ = std::max({total, done_, std::int64_t{1}}); }

double Progress::elapsed_seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Progress::print() {
  std::string line = progress_line(label_, done_, total_, elapsed_seconds());
  if (!note_.empty()) line += "  " + note_;
  const bool last = done_ == total_;
  if (terminal_) line = '\r' + line + "\x1b[K";  // erases what a longer line left behind
  if (!terminal_ || last) line += '\n';
  std::fwrite(line.data(), 1, line.size(), stream_);
  std::fflush(stream_);
  line_open_ = terminal_ && !last;
}

}  // namespace aulos_examples
