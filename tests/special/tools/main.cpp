// Judges one case of "my.module", the module that the README registers: exit 0 if every tensor passes.
#include <cstdio>
#include <exception>

#include "aulos/nn/linear.hpp"
#include "aulos/registry.hpp"
#include "verify/report.hpp"

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  aulos::Registry registry;
  registry.add("my.module", [](aulos::Case& c) {
    auto& linear =
        c.module<aulos::nn::Linear<float>>(c.config().get<aulos::Index>("in"), c.config().get<aulos::Index>("out"));
    c.output("y", linear(c.input<3>("x")));
  });
  const aulos::io::Checkpoint file = aulos::io::Checkpoint::open(argv[1]);
  aulos::Case c(file, 1, true);
  (*registry.find(file.metadata().at("system")))(c);
  verify::CaseReport report;
  report.verdicts = verify::judge(file, c.finish(), std::nullopt).verdicts;
  for (const verify::Verdict& v : report.verdicts)
    std::printf("%s %s %g\n", v.passed ? "pass" : "FAIL", v.tensor.c_str(), v.rms_ratio);
  return report.passed() ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
