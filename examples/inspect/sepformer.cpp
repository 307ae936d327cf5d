#include "inspect/separator.hpp"

namespace inspect {

void add_sepformer(Layouts& layouts) {
  using aulos::models::SepFormerConfig;
  add_separator<aulos::models::SepFormer<float>>(layouts, {{"two speakers", SepFormerConfig::two_speakers()},
                                                           {"three speakers", SepFormerConfig::three_speakers()},
                                                           {"enhancement", SepFormerConfig::enhancement()}});
}

}  // namespace inspect
