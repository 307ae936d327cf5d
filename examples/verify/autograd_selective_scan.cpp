// autograd.selective_scan: all parts of the scan, its last state, channels in front of time.
#include "aulos/ops/activation.hpp"
#include "aulos/ops/arithmetic.hpp"
#include "aulos/ops/layout.hpp"
#include "aulos/ops/selective_scan.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

// u, delta, z [B, C, L], B, C [B, N, L].
void selective_scan_case(Case& c) {
  const auto tokens_first = [&](const char* name) { return permute(c.input<3>(name), {0, 2, 1}); };
  const auto u = tokens_first("u"), delta = tokens_first("delta"), z = tokens_first("z");
  const auto b = tokens_first("B"), out = tokens_first("C");
  const Parameter<float, 2>& a_log = c.parameter<2>("A_log");
  const auto decay_rates = apply(add(c.context().zeros<float>(a_log.shape()), a_log), Activation::exp);
  const auto y = selective_scan_with_state(u, delta, scale(decay_rates, -1), b, out, {},
                                           {.d = c.parameter<1>("D"), .z = z, .delta_bias = c.parameter<1>("dt_bias")});
  c.output("y", permute(y.out, {0, 2, 1}));
  c.output("last_state", y.last);
}

}  // namespace

void add_autograd_selective_scan(Registry& registry) { registry.add("autograd.selective_scan", selective_scan_case); }

}  // namespace verify
