#include "aulos/core/processor.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <string>

namespace {

using aulos::processor_feature;
using aulos::processor_gap;
using aulos::processor_message;
using aulos::ProcessorWords;

// Feature words after the manner of these processors: leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax,
// extended1_ecx, xcr0.
constexpr ProcessorWords no_processor{};
constexpr ProcessorWords nehalem{0x009CE3BD, 0, 0, 0, 0, 0x1, 0};
constexpr ProcessorWords sandy_bridge{0x1FBAE3FF, 0, 0, 0, 0, 0x1, 0x7};
constexpr ProcessorWords haswell{0x7FFAFBFF, 0x000027AB, 0, 0, 0, 0x21, 0x7};
constexpr ProcessorWords skylake_server{0x7FFEFBFF, 0xD39FFFFB, 0, 0, 0, 0x121, 0x2E7};
constexpr ProcessorWords sapphire_rapids{0x7FFEFBFF, 0xF3BFBFFB, 0x1B415F7E, 0xFFDD4432, 0x1C30, 0x121, 0x602E7};
constexpr ProcessorWords without_osxsave(ProcessorWords words) {
  words.leaf1_ecx &= ~(1U << 27);
  words.xcr0 = 0;
  return words;
}
constexpr ProcessorWords with_xcr0(ProcessorWords words, std::uint64_t xcr0) {
  words.xcr0 = xcr0;
  return words;
}

constexpr std::uint64_t v2 = processor_feature("SSE3") | processor_feature("SSSE3") | processor_feature("SSE4.1") |
                             processor_feature("SSE4.2") | processor_feature("POPCNT");
constexpr std::uint64_t avx = v2 | processor_feature("AVX");
constexpr std::uint64_t v3 = avx | processor_feature("AVX2") | processor_feature("FMA") | processor_feature("F16C") |
                             processor_feature("BMI1") | processor_feature("BMI2") | processor_feature("LZCNT") |
                             processor_feature("MOVBE");
constexpr std::uint64_t v4 = v3 | processor_feature("AVX512F") | processor_feature("AVX512BW") |
                             processor_feature("AVX512DQ") | processor_feature("AVX512VL") |
                             processor_feature("AVX512CD");
constexpr std::uint64_t bf16 = v4 | processor_feature("AVX512BF16") | processor_feature("AVX512VNNI");
constexpr std::uint64_t amx = bf16 | processor_feature("AMX-TILE") | processor_feature("AMX-BF16");

struct Case {
  const char* name;
  std::uint64_t required;
  ProcessorWords words;
  std::uint64_t no_instruction, no_state;
};

TEST(ProcessorTest, TableOfFeatureWords) {
  const Case cases[] = {
      {"baseline anywhere", 0, no_processor, 0, 0},
      {"v2 on Nehalem", v2, nehalem, 0, 0},
      {"v2 without CPUID", v2, no_processor, v2, 0},
      {"AVX on Nehalem", avx, nehalem, processor_feature("AVX"), 0},
      {"v3 on Nehalem", v3, nehalem, v3 & ~v2, 0},
      {"AVX on Sandy Bridge", avx, sandy_bridge, 0, 0},
      {"v3 on Sandy Bridge", v3, sandy_bridge, v3 & ~avx, 0},
      {"v3 on Haswell", v3, haswell, 0, 0},
      {"v4 on Haswell", v4, haswell, v4 & ~v3, 0},
      {"v4 on Skylake server", v4, skylake_server, 0, 0},
      {"BF16 on Skylake server", bf16, skylake_server, bf16 & ~v4, 0},
      {"BF16 on Sapphire Rapids", bf16, sapphire_rapids, 0, 0},
      {"AMX on Sapphire Rapids", amx, sapphire_rapids, 0, 0},
      {"everything on Sapphire Rapids", ~std::uint64_t{0}, sapphire_rapids, 0, 0},
      {"v2 without XSAVE", v2, without_osxsave(haswell), 0, 0},
      {"AVX without XSAVE", avx, without_osxsave(haswell), 0, processor_feature("AVX")},
      {"v3 without XSAVE", v3, without_osxsave(haswell), 0,
       processor_feature("AVX") | processor_feature("AVX2") | processor_feature("FMA") | processor_feature("F16C")},
      {"v3, XMM state only", v3, with_xcr0(haswell, 0x3), 0,
       processor_feature("AVX") | processor_feature("AVX2") | processor_feature("FMA") | processor_feature("F16C")},
      {"v4, no ZMM state", v4, with_xcr0(skylake_server, 0x7), 0, v4 & ~v3},
      {"v4, no upper ZMM state", v4, with_xcr0(skylake_server, 0x67), 0, v4 & ~v3},
      {"v3, no ZMM state", v3, with_xcr0(skylake_server, 0x7), 0, 0},
      {"AMX, no tile state", amx, with_xcr0(sapphire_rapids, 0xE7), 0, amx & ~bf16},
      {"AMX, half of the tile state", amx, with_xcr0(sapphire_rapids, 0x200E7), 0, amx & ~bf16},
      {"both kinds", v4, with_xcr0(haswell, 0x3), v4 & ~v3,
       processor_feature("AVX") | processor_feature("AVX2") | processor_feature("FMA") | processor_feature("F16C")},
  };
  for (const Case& c : cases) {
    const auto gap = processor_gap(c.required, c.words);
    EXPECT_EQ(gap.no_instruction, c.no_instruction) << c.name;
    EXPECT_EQ(gap.no_state, c.no_state) << c.name;
    const std::string message = processor_message(c.required, c.words).text;
    EXPECT_EQ(message.empty(), (c.no_instruction | c.no_state) == 0) << c.name << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(ProcessorTest, EachFeatureIsOneBit) {
  // The bit of each feature alone makes that feature available, with its state enabled.
  std::uint64_t all = 0;
  for (const auto& feature : aulos::processor_features) {
    ProcessorWords words{};
    std::uint32_t* const in[] = {&words.leaf1_ecx, &words.leaf7_ebx,   &words.leaf7_ecx,
                                 &words.leaf7_edx, &words.leaf7_1_eax, &words.extended1_ecx};
    *in[static_cast<std::size_t>(feature.word)] = 1U << feature.bit;
    words.xcr0 = feature.state;
    const auto gap = processor_gap((std::uint64_t{1} << aulos::processor_feature_count) - 1, words);
    const auto available =
        ((std::uint64_t{1} << aulos::processor_feature_count) - 1) & ~(gap.no_instruction | gap.no_state);
    EXPECT_EQ(std::popcount(available), 1) << feature.name;
    EXPECT_EQ(all & available, 0U) << feature.name;
    all |= available;
  }
}

TEST(ProcessorTest, TheLineNamesWhatWasBuiltWhatIsFoundAndWhatLacks) {
  EXPECT_STREQ(processor_message(avx | processor_feature("AVX2"), nehalem).text,
               "aulos: this program is built for AVX2; this processor offers SSE4.2 and lacks AVX, AVX2");
  EXPECT_STREQ(processor_message(avx, without_osxsave(haswell)).text,
               "aulos: this program is built for AVX; this processor offers SSE4.2, and the operating system has not "
               "enabled AVX");
  const std::string all = processor_message(~std::uint64_t{0}, no_processor).text;
  EXPECT_TRUE(
      all.starts_with("aulos: this program is built for AVX-512 with AMX; this processor offers SSE2 and lacks"));
  EXPECT_TRUE(all.ends_with("AMX-BF16")) << "not cut off";
  EXPECT_STREQ(processor_message(v4, haswell).text,
               "aulos: this program is built for AVX-512; this processor offers AVX2 and lacks AVX512F, AVX512CD, "
               "AVX512BW, AVX512DQ, AVX512VL");
}

TEST(ProcessorTest, ThisProcessorRunsThisProgram) {
  EXPECT_EQ(aulos::unsupported_processor(), nullptr) << aulos::unsupported_processor();
  EXPECT_NO_THROW(aulos::require_processor());
#if defined(__AVX2__)
  EXPECT_NE(aulos::compiled_features & processor_feature("AVX2"), 0U);
#endif
}

#if defined(__x86_64__)
TEST(ProcessorTest, AgreesWithTheCompilersOwnQuery) {
  const auto gap = processor_gap(~std::uint64_t{0}, aulos::processor_words());
  const auto usable = [&](std::uint64_t feature) { return (feature & (gap.no_instruction | gap.no_state)) == 0; };
  __builtin_cpu_init();
  EXPECT_EQ(usable(processor_feature("SSE4.2")), __builtin_cpu_supports("sse4.2") != 0);
  EXPECT_EQ(usable(processor_feature("POPCNT")), __builtin_cpu_supports("popcnt") != 0);
  EXPECT_EQ(usable(processor_feature("AVX")), __builtin_cpu_supports("avx") != 0);
  EXPECT_EQ(usable(processor_feature("FMA")), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(usable(processor_feature("AVX2")), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(usable(processor_feature("BMI2")), __builtin_cpu_supports("bmi2") != 0);
  EXPECT_EQ(usable(processor_feature("AVX512F")), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(usable(processor_feature("AVX512VNNI")), __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(usable(processor_feature("AVX512VBMI2")), __builtin_cpu_supports("avx512vbmi2") != 0);
}

TEST(ProcessorTest, RequireThrowsTheLine) {
  // One that few processors have.
  const auto gap = processor_gap(~std::uint64_t{0}, aulos::processor_words());
  if ((gap.no_instruction & processor_feature("AVX512FP16")) == 0) GTEST_SKIP() << "this processor has it all";
  constexpr auto required = processor_feature("AVX512FP16");
  ASSERT_NE(aulos::unsupported_processor<required>(), nullptr);
  EXPECT_EQ(aulos::unsupported_processor<required>(), aulos::unsupported_processor<required>()) << "static text";
  try {
    aulos::require_processor<required>();
    FAIL();
  } catch (const aulos::Error& error) {
    EXPECT_STREQ(error.what(), aulos::unsupported_processor<required>());
  }
}
#endif

}  // namespace
