// Runs a piece of a test in a forked child, where it may lower limits of the process.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <utility>

namespace aulos_tests {

// The exit status of a child in which `f` returned an int; -1 where it died otherwise.
template <class F>
int in_child(F&& f) {
  const pid_t child = fork();
  if (child == 0) {
    int status = 99;
    try {
      status = std::forward<F>(f)();
    } catch (...) {
    }
    _exit(status);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Lets this process have `more` bytes of address space beyond what it has now.
inline bool limit_memory(std::size_t more) {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return false;
  unsigned long pages = 0;
  const bool read = std::fscanf(file, "%lu", &pages) == 1;
  std::fclose(file);
  if (!read) return false;
  const rlim_t bytes = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + more;
  const rlimit limit{bytes, bytes};
  return setrlimit(RLIMIT_AS, &limit) == 0;
}

}  // namespace aulos_tests
