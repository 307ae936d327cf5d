#include "inspect/separator.hpp"

namespace inspect {

void add_dprnn(Layouts& layouts) {
  using aulos::models::DprnnConfig;
  add_separator<aulos::models::Dprnn<float>>(layouts, {{"two speakers, LSTM", DprnnConfig::two_speakers()}});
}

}  // namespace inspect
