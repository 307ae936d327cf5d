// Trouble for the system calls of this test program; file_test.cpp stands between them and the C library.
#pragma once

#include <atomic>
#include <cstddef>

namespace aulos_tests {

struct Faults {
  std::atomic<std::size_t> max_transfer{std::size_t{1} << 40};  // bytes per read or write
  std::atomic<bool> interrupts{false};                          // every second read or write gives EINTR
  std::atomic<int> read_error{0};
  std::atomic<int> write_error{0};
  std::atomic<int> sync_error{0};
  std::atomic<int> rename_error{0};
  std::atomic<int> map_error{0};  // of files only
  std::atomic<int> calls{0};
  std::atomic<int> reads{0};
  std::atomic<int> syncs{0};

  void reset() {
    max_transfer = std::size_t{1} << 40;
    interrupts = false;
    for (std::atomic<int>* n :
         {&read_error, &write_error, &sync_error, &rename_error, &map_error, &calls, &reads, &syncs}) {
      *n = 0;
    }
  }
};

Faults& faults();

}  // namespace aulos_tests
