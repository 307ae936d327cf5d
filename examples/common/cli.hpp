// What every program does the same way: the processor is checked first; help goes to standard output with exit 0; any
// error is one line on standard error with exit 2; numbers are read the same under every locale.
#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include "aulos/core/error.hpp"
#include "aulos/core/processor.hpp"

namespace aulos_examples {

inline constexpr int kSuccess = 0, kFailure = 1, kUsage = 2;

// Whatever a message holds, it stays one line.
inline std::string one_line(std::string_view message) {
  std::string line;
  for (const char c : message) {
    const bool breaks = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (!breaks) line += c;
    if (breaks && !line.empty() && line.back() != ' ') line += ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

inline int report(const char* program, std::string_view message) {
  const std::string line = std::string(program) + ": " + one_line(message) + '\n';
  std::fputs(line.c_str(), stderr);
  return kUsage;
}

// A number as the shortest text that reads back equal.
template <class T>
std::string number_text(T value) {
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end.ptr};
}

// Adds an option for a number in [least, most], whole if T is: `7,5`, `7.5x` and `nan` are errors that name the option.
// `value` keeps its default, which the help shows, where the option is not given.
template <class T>
CLI::Option* add_number(CLI::App& app, const std::string& option, T& value, std::type_identity_t<T> least,
                        std::type_identity_t<T> most, const std::string& help) {
  const auto read = [&value, option, least, most](const std::string& text) {
    T number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || !(number >= least && number <= most)) {
      throw CLI::ValidationError(option, std::string("expected a ") + (std::is_integral_v<T> ? "whole " : "") +
                                             "number from " + number_text(least) + " to " + number_text(most) +
                                             ", got '" + text + "'");
    }
    value = number;
  };
  const std::string type = std::is_integral_v<T> ? "INTEGER" : "NUMBER";
  return app.add_option_function<std::string>(option, read, help)->type_name(type)->default_str(number_text(value));
}

// `relative` as seen from the current folder or, if it is not there, from the folder of the program or the three above
// that one (a build folder inside the repository); unchanged if it is nowhere.
inline std::filesystem::path find_data(const char* program_path, const std::filesystem::path& relative) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::exists(relative, error)) return relative;
  fs::path folder = fs::weakly_canonical(program_path, error).parent_path();
  for (int level = 0; level < 4 && !folder.empty(); ++level, folder = folder.parent_path()) {
    if (fs::exists(folder / relative, error)) return folder / relative;
  }
  return relative;
}

// Parses the command line into `app`, then calls `body()`, which returns the exit status.
//
//     int main(int argc, char** argv) {
//       if (const char* problem = aulos::unsupported_processor()) return aulos_examples::report("score", problem);
//       CLI::App app("Scores ...", "score");
//       ...
//       return aulos_examples::run_program(app, argc, argv, [&] { ...; return aulos_examples::kSuccess; });
//     }
template <class Body>
int run_program(CLI::App& app, int argc, char** argv, const Body& body) {
  const std::string name = app.get_name();
  try {
    app.parse(argc, argv);
    const int status = body();
    errno = 0;
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      const int reason = errno != 0 ? errno : EIO;
      throw aulos::Error("cannot write to standard output: " + std::generic_category().message(reason));
    }
    return status;
  } catch (const CLI::Success&) {
    std::fputs(app.help().c_str(), stdout);
    const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    return written ? kSuccess : report(name.c_str(), "cannot write to standard output");
  } catch (const CLI::ParseError& error) {
    return report(name.c_str(), std::string(error.what()) + " (see --help)");
  } catch (const std::bad_alloc&) {
    return report(name.c_str(), "not enough memory");
  } catch (const std::exception& error) {
    return report(name.c_str(), error.what());
  }
}

}  // namespace aulos_examples
