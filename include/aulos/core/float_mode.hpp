// The floating-point mode of a thread (flushing of denormals, rounding, traps): read, set for a scope, restored.
#pragma once

#include <cstdint>

#include "aulos/core/config.hpp"

namespace aulos::inline AULOS_ISA {

// The control bits of MXCSR (x86) or FPCR (AArch64); elsewhere empty, and nothing is changed.
class FloatMode {
 public:
  static FloatMode current() noexcept { return FloatMode(read() & control_bits); }

  // Makes this the mode of the calling thread. Exception flags that are already raised stay.
  void apply() const noexcept { write((read() & ~control_bits) | bits_); }

  // This mode, with denormal results and operands taken as zero.
  FloatMode flushing_denormals() const noexcept { return FloatMode(bits_ | flush_bits); }
  bool flushes_denormals() const noexcept { return flush_bits != 0 && (bits_ & flush_bits) == flush_bits; }

  friend bool operator==(const FloatMode&, const FloatMode&) noexcept = default;

 private:
  explicit FloatMode(std::uint64_t bits) noexcept : bits_(bits) {}

#if defined(__SSE__)
  static constexpr std::uint64_t control_bits = 0xFFC0, flush_bits = 0x8040;  // FTZ and DAZ
  static std::uint64_t read() noexcept {
    std::uint32_t bits;
    asm volatile("stmxcsr %0" : "=m"(bits) : : "memory");
    return bits;
  }
  static void write(std::uint64_t bits) noexcept {
    auto word = static_cast<std::uint32_t>(bits);
    asm volatile("ldmxcsr %0" : : "m"(word) : "memory");
  }
#elif defined(__aarch64__)
  static constexpr std::uint64_t control_bits = 0x07FF9F00, flush_bits = 1U << 24;  // FZ
  static std::uint64_t read() noexcept {
    std::uint64_t bits;
    asm volatile("mrs %0, fpcr" : "=r"(bits) : : "memory");
    return bits;
  }
  static void write(std::uint64_t bits) noexcept { asm volatile("msr fpcr, %0" : : "r"(bits) : "memory"); }
#else
  static constexpr std::uint64_t control_bits = 0, flush_bits = 0;
  static std::uint64_t read() noexcept { return 0; }
  static void write(std::uint64_t) noexcept {}
#endif

  std::uint64_t bits_;
};

// Sets a mode for the calling thread and gives the former one back at the end of the scope. Free where they are equal.
class FloatModeScope {
 public:
  explicit FloatModeScope(FloatMode mode) noexcept : former_(FloatMode::current()), changed_(mode != former_) {
    if (changed_) mode.apply();
  }
  FloatModeScope(const FloatModeScope&) = delete;
  FloatModeScope& operator=(const FloatModeScope&) = delete;
  ~FloatModeScope() {
    if (changed_) former_.apply();
  }

 private:
  FloatMode former_;
  bool changed_;
};

}  // namespace aulos::inline AULOS_ISA
