// A shared object that holds a team, to be loaded and unloaded.
#include "tests/special/thread_lifetime/work.hpp"

extern "C" bool run_module() {
  static aulos::ThreadTeam team(3);
  return works(team);
}
