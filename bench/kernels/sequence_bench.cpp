// Recurrent layers and what waveforms pass through: LSTM and GRU of 256 hidden units, forward and through time, over
// one sequence of 250 steps and over 32 side by side; the short-time Fourier transform of 4 seconds at 16 kHz; chunks
// of a sequence and their sum. Counters: see jobs.hpp.
#include <algorithm>
#include <string>

#include "aulos/kernels/recurrent.hpp"
#include "aulos/kernels/segment.hpp"
#include "aulos/kernels/stft.hpp"
#include "bench/kernels/jobs.hpp"

namespace {

namespace kernels = aulos::kernels;
using aulos::Cost, aulos::cost_per_element, aulos::Index, aulos::Threads;
using bench::fill, bench::Floats, bench::Job, bench::zeros;
using kernels::RecurrentCell;

constexpr Index hidden = 256, steps = 250;

// Operations: the products of the recurrent weight and ten for each gate. Bytes: gates, states and the weight once.
Cost recurrent_cost(RecurrentCell cell, Index batch) {
  const double tokens = static_cast<double>(batch * steps),
               width = static_cast<double>(kernels::gates_of(cell) * hidden);
  return {tokens * width * (2.0 * hidden + 10), 4 * (tokens * (width + 2 * hidden) + width * hidden),
          kernels::recurrent_scratch<float>(cell, batch, hidden)};
}

Floats packed(RecurrentCell cell, const Floats& w, auto pack) {
  Floats panels = zeros(kernels::packed_recurrent<float>(cell, hidden));
  pack(Threads::serial(), cell, w.data(), hidden, hidden, panels.data());
  return panels;
}

template <RecurrentCell cell>
Job recurrent(Index batch) {
  constexpr Index width = kernels::gates_of(cell) * hidden;
  const Floats panels = packed(cell, fill(width * hidden, 1, 0.06f), kernels::pack_recurrent<float>);
  return {recurrent_cost(cell, batch),
          [=, gates = fill(batch * steps * width, 2), bias = fill(width, 3), y = zeros(batch * steps * hidden),
           h = zeros(batch * hidden), c = zeros(batch * hidden)](Threads threads) mutable {
            const kernels::RecurrentForward<float> direction{.panels = panels.data(),
                                                             .bias = bias.data(),
                                                             .gates = gates.data(),
                                                             .memory = nullptr,
                                                             .h0 = nullptr,
                                                             .c0 = nullptr,
                                                             .y = y.data(),
                                                             .ldy = hidden,
                                                             .h_last = h.data(),
                                                             .c_last = c.data(),
                                                             .reverse = false};
            kernels::recurrent_forward<float>(threads, cell, {batch, steps, hidden}, nullptr, &direction, 1);
          }};
}

// With a copy of the gates' values, which are overwritten by gradients.
template <RecurrentCell cell>
Job recurrent_backward(Index batch) {
  constexpr Index width = kernels::gates_of(cell) * hidden;
  const Floats panels = packed(cell, fill(width * hidden, 1, 0.06f), kernels::pack_recurrent_transposed<float>);
  Cost cost = recurrent_cost(cell, batch);
  cost.bytes += 8.0 * static_cast<double>(batch * steps * width);
  return {cost, [=, values = fill(batch * steps * width, 2), gates = zeros(batch * steps * width),
                 hidden_gates = zeros(batch * steps * width), memory = fill(batch * steps * hidden, 3),
                 y = fill(batch * steps * hidden, 4), gy = fill(batch * steps * hidden, 5)](Threads threads) mutable {
            std::copy(values.begin(), values.end(), gates.begin());
            kernels::RecurrentBackward<float> direction{};
            direction.panels = panels.data();
            direction.gates = gates.data();
            direction.memory = memory.data();
            direction.y = y.data();
            direction.ldy = direction.ldgy = hidden;
            direction.gy = gy.data();
            if (cell == RecurrentCell::gru) direction.hidden_gates = hidden_gates.data();
            kernels::recurrent_backward<float>(threads, cell, {batch, steps, hidden}, nullptr, &direction, 1);
          }};
}

// 497 frames of 512 samples, 128 apart: 257 bins.
constexpr kernels::StftShape transform{1, 512, 128, 497, 257};

Cost stft_cost(Index samples) {
  const double spectrum = transform.spectrum(), basis = 2.0 * transform.bins * transform.n_fft;
  return {2 * spectrum * transform.n_fft, 4 * (spectrum + basis + static_cast<double>(samples)),
          kernels::stft_scratch<float>(transform)};
}
Job stft() {
  return {stft_cost(transform.span()), [x = fill(transform.span(), 1), basis = fill(2 * 257 * 512, 2),
                                        y = zeros(transform.spectrum())](Threads threads) mutable {
            kernels::stft<float>(threads, transform, basis.data(), {x.data(), transform.span()}, y.data());
          }};
}
Job stft_frames() {
  return {stft_cost(497 * 512), [y = fill(transform.spectrum(), 1), basis = fill(2 * 257 * 512, 2),
                                 frames = zeros(497 * 512)](Threads threads) mutable {
            kernels::stft_frames<float>(threads, transform, basis.data(), y.data(), frames.data());
          }};
}

// Half-overlapping chunks of 250 of a sequence of 8000 with 256 channels, and frames of a waveform with a window.
struct Cut {
  kernels::ChunkTable table;
  Index channels;
  bool window;

  Index chunk_elements() const { return table.chunks * table.chunk * channels; }
};
constexpr Cut chunks{{8000, 250, 64, -125, 125, 125}, 256, false};
constexpr Cut frames{{transform.span(), 512, 497, 0, 128, 128}, 1, true};

template <const Cut& cut>
Job segment() {
  return {cost_per_element<float>(cut.chunk_elements(), cut.window ? 1 : 0, 2),
          [x = fill(cut.table.length * cut.channels, 1), z = zeros(cut.chunk_elements()),
           window = fill(cut.table.chunk, 2)](Threads threads) mutable {
            kernels::segment<float>(threads, 1, cut.channels, cut.table, {x.data(), 0, cut.channels},
                                    cut.window ? window.data() : nullptr,
                                    {z.data(), 0, cut.table.chunk * cut.channels, cut.channels});
          }};
}
template <const Cut& cut>
Job overlap_add() {
  return {cost_per_element<float>(cut.chunk_elements(), cut.window ? 2 : 1, 2),
          [z = fill(cut.chunk_elements(), 1), y = zeros(cut.table.length * cut.channels),
           window = fill(cut.table.chunk, 2)](Threads threads) mutable {
            kernels::overlap_add<float>(threads, 1, cut.channels, cut.table,
                                        {z.data(), 0, cut.table.chunk * cut.channels, cut.channels},
                                        cut.window ? window.data() : nullptr, {y.data(), 0, cut.channels});
          }};
}

const bool registered = [] {
  const struct {
    const char* name;
    Job (*make)(Index batch);
  } layers[] = {{"lstm", recurrent<RecurrentCell::lstm>},
                {"lstm_backward", recurrent_backward<RecurrentCell::lstm>},
                {"gru", recurrent<RecurrentCell::gru>},
                {"gru_backward", recurrent_backward<RecurrentCell::gru>}};
  for (const auto& layer : layers) {
    for (const Index batch : {1, 32}) {
      bench::add_job(std::string(layer.name) + "/" + std::to_string(batch),
                     [=, make = layer.make] { return make(batch); });
    }
  }
  bench::add_job("stft", stft);
  bench::add_job("stft_frames", stft_frames);
  bench::add_job("segment/chunks", segment<chunks>);
  bench::add_job("segment/frames", segment<frames>);
  bench::add_job("overlap_add/chunks", overlap_add<chunks>);
  bench::add_job("overlap_add/frames", overlap_add<frames>);
  return true;
}();

}  // namespace
