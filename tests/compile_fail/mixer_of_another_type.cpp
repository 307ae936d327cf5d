// A mixer with parameters of double in a block of float.
// expect: constraints not satisfied
// max_lines: 24
#include "aulos/attention/differential.hpp"
#include "aulos/stream/encoder_block.hpp"

using Block = aulos::stream::EncoderBlock<float, aulos::nn::Mlp<float>, aulos::stream::Gated,
                                          aulos::stream::Joint<aulos::attention::Differential<double>>>;
Block wrong;
