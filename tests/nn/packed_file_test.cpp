#include "aulos/nn/packed_file.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "aulos/core/random.hpp"
#include "aulos/nn/initialise.hpp"
#include "aulos/nn/linear.hpp"
#include "aulos/nn/load.hpp"
#include "tests/support/paths.hpp"

namespace {

using aulos::CheckpointError;
using aulos::Dtype;
using aulos::Index;
using aulos::Numeric;
using aulos::Shape;
using aulos::io::Checkpoint;
using aulos::io::Mode;
using aulos::nn::load_packed;
using aulos::nn::load_parameters;
using aulos::nn::save_packed;

template <class T>
struct Net {
  using value_type = T;

  aulos::nn::Linear<T> fc1{37, 70}, fc2{70, 5};
  aulos::Weight<T> convolution{Shape<4>{3, 2, 1, 2}};
  aulos::Parameter<T, 2> table{Shape<2>{2, 3}};

  void visit(auto&& v) {
    v("fc1", fc1);
    v("fc2", fc2);
    v("conv.weight", convolution);
    v("table", table, aulos::nn::Role::derived_buffer);
  }
  bool operator==(const Net&) const = default;
};

template <class T = float>
Net<T> random_net(std::uint64_t seed) {
  Net<T> net;
  aulos::Random random(seed);
  aulos::nn::initialise_normal(net, random, 1);
  return net;
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no error";
}

template <class T>
void expect_round_trip(Numeric stored_as, Mode mode) {
  const std::string path = (aulos_tests::fresh_dir() / "packed.safetensors").string();
  Net<T> net = random_net<T>(1);
  aulos::nn::pack(net, stored_as);
  save_packed(net, path, {{"who", "me"}});

  Net<T> back;
  const Checkpoint file = Checkpoint::open(path, {.mode = mode});
  EXPECT_EQ(file.metadata().at("who"), "me");
  EXPECT_TRUE(aulos::nn::is_packed_file(file));
  load_packed(back, file);
  EXPECT_EQ(back.fc1.weight.stored_as(), stored_as);
  EXPECT_EQ(back, net);  // the panels, bit for bit; the buffer without values is without them again
}

TEST(PackedFile, RoundTrip) {
  for (const Numeric stored_as : {Numeric::exact, Numeric::bf16, Numeric::int8}) {
    for (const Mode mode : {Mode::read, Mode::map}) {
      SCOPED_TRACE(std::string(name_of(stored_as)) + (mode == Mode::map ? ", mapped" : ", read"));
      expect_round_trip<float>(stored_as, mode);
      expect_round_trip<double>(stored_as, mode);
    }
  }
}

TEST(PackedFile, MappedPanelsLieInTheFile) {
  const std::string path = (aulos_tests::fresh_dir() / "packed.safetensors").string();
  save_packed(random_net(1), path);
  Net<float> net, copy;
  {
    const Checkpoint file = Checkpoint::open(path, {.mode = Mode::map});
    load_packed(net, file);
    const void* in_file = file.view(file.info("fc1.weight")).data();
    // Panels of narrow vectors need not end where a cache line does: what follows them in the file is copied then.
    const bool aligned = reinterpret_cast<std::uintptr_t>(in_file) % aulos::buffer_alignment == 0;
    EXPECT_EQ(in_file == net.fc1.weight.view().panels, aligned);
    EXPECT_TRUE(aligned || aulos::simd::lanes<float> < 16);
  }
  copy = net;  // both keep the mapping
  EXPECT_EQ(copy.fc1.weight.view().panels, net.fc1.weight.view().panels);
  net = Net<float>();
  copy.fc1.weight.unpack();
  EXPECT_EQ(copy.fc1.weight.rows(), random_net(1).fc1.weight.rows());
}

TEST(PackedFile, AnUnpackedWeightIsWrittenExactly) {
  const std::string path = (aulos_tests::fresh_dir() / "packed.safetensors").string();
  Net<float> net = random_net(2);
  net.fc2.weight.pack(Numeric::bf16);
  save_packed(net, path);
  EXPECT_FALSE(net.fc1.weight.packed());  // the model is as before
  Net<float> back;
  load_parameters(back, Checkpoint::open(path));  // tells such a file by itself
  EXPECT_EQ(back.fc1.weight.stored_as(), Numeric::exact);
  EXPECT_EQ(back.fc2.weight.stored_as(), Numeric::bf16);
  back.fc1.weight.unpack();
  EXPECT_EQ(back.fc1.weight, net.fc1.weight);
}

TEST(PackedFile, PacksWhileItLoads) {
  const std::string path = (aulos_tests::fresh_dir() / "rows.safetensors").string();
  Net<float> net = random_net(3), back;
  net.table.data();
  aulos::nn::save_parameters(net, path, Dtype::f32);
  load_parameters(back, Checkpoint::open(path), {.pack = Numeric::bf16});
  aulos::nn::pack(net, Numeric::bf16);
  EXPECT_EQ(back.fc1, net.fc1);
  EXPECT_EQ(back.convolution, net.convolution);
}

// Enough for threads to be started by default.
struct Large {
  using value_type = float;
  std::vector<aulos::nn::Linear<float>> layers{9, aulos::nn::Linear<float>(300, 450)};

  void visit(auto&& v) { v("layers", layers); }
  bool operator==(const Large&) const = default;
};

TEST(PackedFile, AnyNumberOfThreadsLoadsTheSame) {
  const auto folder = aulos_tests::fresh_dir();
  const std::string rows = (folder / "rows.safetensors").string(), panels = (folder / "packed.safetensors").string();
  Large net;
  aulos::Random random(5);
  aulos::nn::initialise_normal(net, random, 1);
  aulos::nn::save_parameters(net, rows, Dtype::f32);
  Large packed = net;
  aulos::nn::pack(packed, Numeric::bf16);
  save_packed(packed, panels);
  for (const int threads : {0, 1, 2, 3, 8}) {
    Large back;
    load_parameters(back, Checkpoint::open(rows), {.threads = threads});
    EXPECT_EQ(back, net);
    load_parameters(back, Checkpoint::open(rows), {.pack = Numeric::bf16, .threads = threads});
    EXPECT_EQ(back, packed);
    load_parameters(back, Checkpoint::open(panels), {.threads = threads});
    EXPECT_EQ(back, packed);
  }
}

// What is cut off after it was opened; the tensor that is told of is the first in the model's order. In a packed file
// all that is no panel comes last.
TEST(PackedFile, AnErrorOfAnyThreadLeavesTheModel) {
  const auto folder = aulos_tests::fresh_dir();
  const std::string rows = (folder / "rows.safetensors").string(), panels = (folder / "packed.safetensors").string();
  Large net;
  aulos::Random random(6);
  aulos::nn::initialise_normal(net, random, 1);
  aulos::nn::save_parameters(net, rows, Dtype::f32);
  save_packed(net, panels);
  const Large before = net;
  for (const std::string& path : {rows, panels}) {
    const Checkpoint file = Checkpoint::open(path);
    std::filesystem::resize_file(path, 2'500'000);
    for (const int threads : {1, 3}) {
      const std::string message = error_of([&] { load_parameters(net, file, {.threads = threads}); });
      const std::string first = path == rows ? "tensor 'layers.4.weight'" : "tensor 'layers.0.bias'";
      EXPECT_NE(message.find(first), std::string::npos) << message;
      EXPECT_EQ(net, before);
    }
  }
}

TEST(PackedFile, LoadingMayPackOtherwise) {
  const std::string path = (aulos_tests::fresh_dir() / "packed.safetensors").string();
  Net<float> net = random_net(4), back;
  net.fc1.weight.pack(Numeric::bf16);
  save_packed(net, path);
  load_parameters(back, Checkpoint::open(path), {.pack = Numeric::int8});
  net.fc1.weight.pack(Numeric::int8);
  EXPECT_EQ(back.fc1.weight, net.fc1.weight);
  EXPECT_EQ(back.fc2.weight.stored_as(), Numeric::int8);
}

struct Wider {
  using value_type = float;
  aulos::nn::Linear<float> fc1{38, 70}, fc3{70, 5};

  void visit(auto&& v) {
    v("fc1", fc1);
    v("fc3", fc3);
  }
  bool operator==(const Wider&) const = default;
};

TEST(PackedFile, ListsAllThatDoesNotFitAndLeavesTheModel) {
  const std::string path = (aulos_tests::fresh_dir() / "packed.safetensors").string();
  save_packed(random_net(1), path);
  Wider net;
  const std::string message = error_of([&] { load_packed(net, Checkpoint::open(path)); });
  EXPECT_NE(message.find("3 problems"), std::string::npos) << message;
  EXPECT_NE(message.find("tensor 'fc1.weight': expected panels"), std::string::npos) << message;
  EXPECT_NE(message.find("of a weight [70, 38]"), std::string::npos) << message;
  EXPECT_NE(message.find("tensor 'fc3.weight': is missing"), std::string::npos) << message;
  EXPECT_NE(message.find("tensor 'fc3.bias': is missing"), std::string::npos) << message;
  EXPECT_EQ(net, Wider());
}

TEST(PackedFile, RefusesTheLayoutOfAnotherBuild) {
  const std::string path = (aulos_tests::fresh_dir() / "packed.safetensors").string();
  save_packed(random_net<double>(1), path);
  Net<float> net;
  std::string message = error_of([&] { load_packed(net, Checkpoint::open(path)); });
  EXPECT_NE(message.find("packed weights, expected of layout '1 F32 "), std::string::npos) << message;
  EXPECT_NE(message.find("got '1 F64 "), std::string::npos) << message;
  EXPECT_NE(message.find("pack the original checkpoint again"), std::string::npos) << message;
  EXPECT_EQ(net, Net<float>());

  Net<float> rows = random_net(1);
  rows.table.data();
  aulos::nn::save_parameters(rows, path, Dtype::f32);
  message = error_of([&] { load_packed(net, Checkpoint::open(path)); });
  EXPECT_NE(message.find("got none"), std::string::npos) << message;
}

// A file cut short by a copy that failed.
TEST(PackedFile, ADamagedFileIsAnError) {
  const std::string path = (aulos_tests::fresh_dir() / "packed.safetensors").string();
  save_packed(random_net(1), path);
  std::filesystem::resize_file(path, 4096);
  EXPECT_NE(error_of([&] { Checkpoint::open(path, {.mode = Mode::map}); }), "no error");
}

}  // namespace
