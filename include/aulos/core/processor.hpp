// Whether the processor has the instructions that this translation unit is compiled for: one clear line, not SIGILL.
//
//     int main(int argc, char** argv) {
//       if (const char* problem = aulos::unsupported_processor()) return std::fprintf(stderr, "%s\n", problem), 1;
//       return run(argc, argv);
//     }
//
// Everything here that runs before the answer is compiled for the baseline of the architecture, in integers only.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AMX_TILE__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"

// Turns off what -march may have turned on (sse3 takes all vector extensions above it along).
#if defined(__x86_64__)
#define AULOS_BASELINE \
  __attribute__((noinline, target("no-sse3,no-popcnt,no-lzcnt,no-bmi,no-bmi2,no-movbe,no-adx,no-xsave")))
#else
#define AULOS_BASELINE
#endif

namespace aulos::inline AULOS_ISA {

// The words of x86's CPUID and XGETBV that name instruction sets.
struct ProcessorWords {
  std::uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax, extended1_ecx;
  std::uint64_t xcr0;  // registers that the operating system saves; 0 where it saves none
};

// Which of a set of instruction sets the processor lacks (no_instruction), and which it has but may not use because the
// operating system doesn't save their registers (no_state). Bit i stands for row i of processor_features.
struct ProcessorGap {
  std::uint64_t no_instruction, no_state;  // no initialisers: they would make a constructor, which is not baseline
};

struct ProcessorFeature {
  enum class Word : unsigned char { leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax, extended1_ecx };
  const char* name;
  Word word;
  unsigned char bit;
  std::uint32_t state;  // of xcr0
};

inline constexpr std::uint32_t no_state = 0, ymm_state = 0x6, zmm_state = 0xE6, tile_state = 0x60000;

// Every extension that a compiler uses on its own or that this library uses. LZCNT stands here although it doesn't
// trap: an old processor executes it as BSR and gives another number.
inline constexpr ProcessorFeature processor_features[] = {
    {"SSE3", ProcessorFeature::Word::leaf1_ecx, 0, no_state},
    {"SSSE3", ProcessorFeature::Word::leaf1_ecx, 9, no_state},
    {"SSE4.1", ProcessorFeature::Word::leaf1_ecx, 19, no_state},
    {"SSE4.2", ProcessorFeature::Word::leaf1_ecx, 20, no_state},
    {"POPCNT", ProcessorFeature::Word::leaf1_ecx, 23, no_state},
    {"MOVBE", ProcessorFeature::Word::leaf1_ecx, 22, no_state},
    {"LZCNT", ProcessorFeature::Word::extended1_ecx, 5, no_state},
    {"BMI1", ProcessorFeature::Word::leaf7_ebx, 3, no_state},
    {"BMI2", ProcessorFeature::Word::leaf7_ebx, 8, no_state},
    {"AVX", ProcessorFeature::Word::leaf1_ecx, 28, ymm_state},
    {"F16C", ProcessorFeature::Word::leaf1_ecx, 29, ymm_state},
    {"FMA", ProcessorFeature::Word::leaf1_ecx, 12, ymm_state},
    {"AVX2", ProcessorFeature::Word::leaf7_ebx, 5, ymm_state},
    {"AVX-VNNI", ProcessorFeature::Word::leaf7_1_eax, 4, ymm_state},
    {"AVX512F", ProcessorFeature::Word::leaf7_ebx, 16, zmm_state},
    {"AVX512CD", ProcessorFeature::Word::leaf7_ebx, 28, zmm_state},
    {"AVX512BW", ProcessorFeature::Word::leaf7_ebx, 30, zmm_state},
    {"AVX512DQ", ProcessorFeature::Word::leaf7_ebx, 17, zmm_state},
    {"AVX512VL", ProcessorFeature::Word::leaf7_ebx, 31, zmm_state},
    {"AVX512IFMA", ProcessorFeature::Word::leaf7_ebx, 21, zmm_state},
    {"AVX512VBMI", ProcessorFeature::Word::leaf7_ecx, 1, zmm_state},
    {"AVX512VBMI2", ProcessorFeature::Word::leaf7_ecx, 6, zmm_state},
    {"AVX512VNNI", ProcessorFeature::Word::leaf7_ecx, 11, zmm_state},
    {"AVX512BITALG", ProcessorFeature::Word::leaf7_ecx, 12, zmm_state},
    {"AVX512VPOPCNTDQ", ProcessorFeature::Word::leaf7_ecx, 14, zmm_state},
    {"AVX512BF16", ProcessorFeature::Word::leaf7_1_eax, 5, zmm_state},
    {"AVX512FP16", ProcessorFeature::Word::leaf7_edx, 23, zmm_state},
    {"GFNI", ProcessorFeature::Word::leaf7_ecx, 8, no_state},
    {"AMX-TILE", ProcessorFeature::Word::leaf7_edx, 24, tile_state},
    {"AMX-INT8", ProcessorFeature::Word::leaf7_edx, 25, tile_state},
    {"AMX-BF16", ProcessorFeature::Word::leaf7_edx, 22, tile_state},
};
inline constexpr int processor_feature_count = static_cast<int>(sizeof processor_features / sizeof *processor_features);

// The set bit of the feature of that name; 0 where there is none.
consteval std::uint64_t processor_feature(const char* name) {
  for (int i = 0; i < processor_feature_count; ++i) {
    const char *a = processor_features[i].name, *b = name;
    while (*a != 0 && *a == *b) ++a, ++b;
    if (*a == *b) return std::uint64_t{1} << i;
  }
  return 0;
}

// What this translation unit is compiled for.
inline constexpr std::uint64_t compiled_features = [] {
  std::uint64_t features = 0;
#if defined(__SSE3__)
  features |= processor_feature("SSE3");
#endif
#if defined(__SSSE3__)
  features |= processor_feature("SSSE3");
#endif
#if defined(__SSE4_1__)
  features |= processor_feature("SSE4.1");
#endif
#if defined(__SSE4_2__)
  features |= processor_feature("SSE4.2");
#endif
#if defined(__POPCNT__)
  features |= processor_feature("POPCNT");
#endif
#if defined(__MOVBE__)
  features |= processor_feature("MOVBE");
#endif
#if defined(__LZCNT__)
  features |= processor_feature("LZCNT");
#endif
#if defined(__BMI__)
  features |= processor_feature("BMI1");
#endif
#if defined(__BMI2__)
  features |= processor_feature("BMI2");
#endif
#if defined(__AVX__)
  features |= processor_feature("AVX");
#endif
#if defined(__F16C__)
  features |= processor_feature("F16C");
#endif
#if defined(__FMA__)
  features |= processor_feature("FMA");
#endif
#if defined(__AVX2__)
  features |= processor_feature("AVX2");
#endif
#if defined(__AVXVNNI__)
  features |= processor_feature("AVX-VNNI");
#endif
#if defined(__AVX512F__)
  features |= processor_feature("AVX512F");
#endif
#if defined(__AVX512CD__)
  features |= processor_feature("AVX512CD");
#endif
#if defined(__AVX512BW__)
  features |= processor_feature("AVX512BW");
#endif
#if defined(__AVX512DQ__)
  features |= processor_feature("AVX512DQ");
#endif
#if defined(__AVX512VL__)
  features |= processor_feature("AVX512VL");
#endif
#if defined(__AVX512IFMA__)
  features |= processor_feature("AVX512IFMA");
#endif
#if defined(__AVX512VBMI__)
  features |= processor_feature("AVX512VBMI");
#endif
#if defined(__AVX512VBMI2__)
  features |= processor_feature("AVX512VBMI2");
#endif
#if defined(__AVX512VNNI__)
  features |= processor_feature("AVX512VNNI");
#endif
#if defined(__AVX512BITALG__)
  features |= processor_feature("AVX512BITALG");
#endif
#if defined(__AVX512VPOPCNTDQ__)
  features |= processor_feature("AVX512VPOPCNTDQ");
#endif
#if defined(__AVX512BF16__)
  features |= processor_feature("AVX512BF16");
#endif
#if defined(__AVX512FP16__)
  features |= processor_feature("AVX512FP16");
#endif
#if defined(__GFNI__)
  features |= processor_feature("GFNI");
#endif
#if defined(__AMX_TILE__)
  features |= processor_feature("AMX-TILE");
#endif
#if defined(__AMX_INT8__)
  features |= processor_feature("AMX-INT8");
#endif
#if defined(__AMX_BF16__)
  features |= processor_feature("AMX-BF16");
#endif
  return features;
}();

// Which of the `required` features are missing.
AULOS_BASELINE constexpr ProcessorGap processor_gap(std::uint64_t required, const ProcessorWords& words) noexcept {
  ProcessorGap gap{0, 0};
  for (int i = 0; i < processor_feature_count; ++i) {
    if ((required >> i & 1) == 0) continue;
    const ProcessorFeature& feature = processor_features[i];
    std::uint32_t word = 0;
    switch (feature.word) {
      case ProcessorFeature::Word::leaf1_ecx:
        word = words.leaf1_ecx;
        break;
      case ProcessorFeature::Word::leaf7_ebx:
        word = words.leaf7_ebx;
        break;
      case ProcessorFeature::Word::leaf7_ecx:
        word = words.leaf7_ecx;
        break;
      case ProcessorFeature::Word::leaf7_edx:
        word = words.leaf7_edx;
        break;
      case ProcessorFeature::Word::leaf7_1_eax:
        word = words.leaf7_1_eax;
        break;
      case ProcessorFeature::Word::extended1_ecx:
        word = words.extended1_ecx;
        break;
    }
    if ((word >> feature.bit & 1) == 0) {
      gap.no_instruction |= std::uint64_t{1} << i;
    } else if ((words.xcr0 & feature.state) != feature.state) {
      gap.no_state |= std::uint64_t{1} << i;
    }
  }
  return gap;
}

// One line without an end; empty where nothing is missing.
struct ProcessorMessage {
  char text[768];
};

// The usual name of the highest level within a set of features.
AULOS_BASELINE constexpr const char* processor_level(std::uint64_t features) noexcept {
  struct Level {
    const char* name;
    std::uint64_t features;
  };
  constexpr std::uint64_t sse42 = processor_feature("SSE3") | processor_feature("SSSE3") | processor_feature("SSE4.1") |
                                  processor_feature("SSE4.2");
  constexpr std::uint64_t avx2 = sse42 | processor_feature("AVX") | processor_feature("AVX2");
  constexpr std::uint64_t avx512 = avx2 | processor_feature("AVX512F") | processor_feature("AVX512BW") |
                                   processor_feature("AVX512DQ") | processor_feature("AVX512VL");
  constexpr std::uint64_t dot = avx512 | processor_feature("AVX512VNNI") | processor_feature("AVX512BF16");
  constexpr Level levels[] = {{"AVX-512 with AMX", dot | processor_feature("AMX-TILE")},
                              {"AVX-512 with BF16", dot},
                              {"AVX-512", avx512},
                              {"AVX2", avx2},
                              {"AVX", sse42 | processor_feature("AVX")},
                              {"SSE4.2", sse42},
                              {"SSE2", 0}};
  const char* name = levels[6].name;
  for (int i = 6; i >= 0; --i) {
    if ((levels[i].features & ~features) == 0) name = levels[i].name;
  }
  return name;
}

// "aulos: this program is built for AVX2; this processor offers SSE4.2 and lacks AVX, AVX2"
AULOS_BASELINE constexpr ProcessorMessage processor_message(std::uint64_t required,
                                                            const ProcessorWords& words) noexcept {
  ProcessorMessage message{};
  const ProcessorGap gap = processor_gap(required, words);
  if ((gap.no_instruction | gap.no_state) == 0) return message;
  const ProcessorGap all = processor_gap(~std::uint64_t{0}, words);
  std::size_t length = 0;
  // Text in turn with the names of a set.
  const char* texts[] = {"aulos: this program is built for ",
                         processor_level(required),
                         "; this processor offers ",
                         processor_level(~(all.no_instruction | all.no_state)),
                         gap.no_instruction != 0 ? " and lacks " : "",
                         gap.no_state != 0 ? ", and the operating system has not enabled " : ""};
  const std::uint64_t names[] = {0, 0, 0, 0, gap.no_instruction, gap.no_state};
  for (int part = 0; part < 6; ++part) {
    for (const char* c = texts[part]; *c != 0 && length + 1 < sizeof message.text; ++c) message.text[length++] = *c;
    const char* comma = "";
    for (int i = 0; i < processor_feature_count; ++i) {
      if ((names[part] >> i & 1) == 0) continue;
      for (const char* c = comma; *c != 0 && length + 1 < sizeof message.text; ++c) message.text[length++] = *c;
      for (const char* c = processor_features[i].name; *c != 0 && length + 1 < sizeof message.text; ++c) {
        message.text[length++] = *c;
      }
      comma = ", ";
    }
  }
  return message;
}

#if defined(__x86_64__)
// CPUID of a leaf: eax, ebx, ecx, edx; zeros where the processor has no such leaf.
struct CpuidRegisters {
  std::uint32_t eax, ebx, ecx, edx;
};
AULOS_BASELINE inline CpuidRegisters cpuid(std::uint32_t leaf, std::uint32_t subleaf) noexcept {
  CpuidRegisters r{};
  asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf & 0x80000000U), "c"(0U));
  if (r.eax < leaf) return {0, 0, 0, 0};
  asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
  return r;
}

// The words of the processor that this runs on.
AULOS_BASELINE inline ProcessorWords processor_words() noexcept {
  ProcessorWords words{};
  words.leaf1_ecx = cpuid(1, 0).ecx;
  const CpuidRegisters leaf7 = cpuid(7, 0);  // eax: its highest subleaf
  words.leaf7_ebx = leaf7.ebx;
  words.leaf7_ecx = leaf7.ecx;
  words.leaf7_edx = leaf7.edx;
  if (leaf7.eax >= 1) words.leaf7_1_eax = cpuid(7, 1).eax;
  words.extended1_ecx = cpuid(0x80000001U, 0).ecx;
  if ((words.leaf1_ecx >> 27 & 1) != 0) {  // OSXSAVE: the operating system has enabled XGETBV
    std::uint32_t low = 0, high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0U));
    words.xcr0 = std::uint64_t{high} << 32 | low;
  }
  return words;
}
#endif

// Null, or one line that says what this translation unit is compiled for and what the processor or the operating system
// lacks. The features are an argument so that units with different flags don't share the function.
template <std::uint64_t Required = compiled_features>
AULOS_BASELINE const char* unsupported_processor() noexcept {
#if defined(__x86_64__)
  static const ProcessorMessage message = processor_message(Required, processor_words());
  return message.text[0] != 0 ? message.text : nullptr;
#else
  return nullptr;  // NEON belongs to AArch64
#endif
}

// Throws that line as an Error.
template <std::uint64_t Required = compiled_features>
void require_processor() {
  if (const char* problem = unsupported_processor<Required>()) throw Error(problem);
}

// Asks the system to let this process use matrix tiles, where they are compiled for: needed once, holds for all
// threads; throws Error where it refuses. Cheap to call again.
inline void request_tiles() {
#if defined(__AMX_TILE__) && defined(__linux__)
  static const long refused = [] {
    constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return ::syscall(SYS_arch_prctl, request_permission, tile_data);
  }();
  if (refused != 0) {
    throw Error(
        "tiles: the system refuses AMX to this process; expected Linux 5.16 or newer on a processor with AMX, or a "
        "build for another instruction set");
  }
#endif
}

}  // namespace aulos::inline AULOS_ISA
