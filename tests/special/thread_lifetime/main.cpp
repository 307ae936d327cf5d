// thread_lifetime WAY MODULE: uses a team that lives in an unusual place, and ends in the way that is asked for.
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <new>
#include <string_view>
#include <thread>

#include "tests/special/thread_lifetime/work.hpp"
#include "tests/support/sanitized.hpp"

namespace {

std::atomic<long> allocations{0};

long threads_of_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<long>(std::distance(begin(tasks), end(tasks)));
}

int verdict(bool right) {
  if (!right) std::fputs("wrong\n", stderr);
  return right ? 0 : 1;
}

aulos::ThreadTeam& function_static() {
  static aulos::ThreadTeam team(3);
  return team;
}

// Started before main, ended after it.
struct Early {
  aulos::ThreadTeam* team = nullptr;
  Early() = default;
  ~Early() { delete team; }
  Early(const Early&) = delete;
  Early& operator=(const Early&) = delete;
} early;

aulos::ThreadTeam namespace_static(1);

}  // namespace

#if !AULOS_TEST_SANITIZED
void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string_view way = argv[1];
  if (way == "no_thread_before_main") {
    if (AULOS_TEST_SANITIZED) return 77;  // the sanitizer has threads of its own
    const long before = threads_of_process();
    aulos::ThreadTeam team(3);
    return verdict(before == 1 && threads_of_process() == 3 && works(team));
  }
  if (way == "function_static") return verdict(works(function_static()));
  if (way == "namespace_static") {
    early.team = new aulos::ThreadTeam(3);
    return verdict(works(*early.team) && works(namespace_static));
  }
  if (way == "thread_local") {
    bool right = false;
    std::thread([&] {
      thread_local aulos::ThreadTeam team(3);
      right = works(team);
    }).join();
    return verdict(right);
  }
  if (way == "leaked") {
    static aulos::ThreadTeam* team = new aulos::ThreadTeam(3);
    return verdict(works(*team));
  }
  if (way == "exit" || way == "quick_exit") {
    aulos::ThreadTeam local(3);
    if (!works(local) || !works(function_static())) return 1;
    if (way == "exit") std::exit(0);
    std::quick_exit(0);
  }
  if (way == "no_allocation") {
    aulos::ThreadTeam team(3);
    if (!works(team)) return 1;
    const long before = allocations;
    bool right = true;
    for (int i = 0; i < 1000; ++i) right = right && works(team);
    team.serial(64).run(3, [](aulos::Index, aulos::Scratch& scratch) { scratch.take<float>(1); });
    return verdict(right && allocations == before);
  }
  if (way == "unload") {
    for (int i = 0; i < 3; ++i) {
      void* module = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
      if (module == nullptr) return std::fprintf(stderr, "%s\n", dlerror()), 1;
      const auto run = reinterpret_cast<bool (*)()>(dlsym(module, "run_module"));
      if (run == nullptr || !run() || dlclose(module) != 0) return 1;
    }
    return 0;
  }
  return 2;
}
