#include "aulos/nn/load.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "aulos/core/random.hpp"
#include "aulos/nn/initialise.hpp"
#include "aulos/nn/linear.hpp"
#include "tests/support/paths.hpp"

namespace {

using aulos::CheckpointError;
using aulos::Dtype;
using aulos::Index;
using aulos::Parameter;
using aulos::Shape;
using aulos::io::Checkpoint;
using aulos::nn::load_parameters;
using aulos::nn::save_parameters;
using aulos::nn::StoredAs;

struct Net {
  aulos::nn::Linear<float> fc1{4, 6}, fc2{6, 2};
  aulos::Weight<float> convolution{Shape<4>{3, 2, 1, 2}};
  Parameter<double, 1> scale{Shape<1>{5}};
  Parameter<float, 2> table{Shape<2>{2, 3}};

  void visit(auto&& v) {
    v("fc1", fc1);
    v("fc2", fc2);
    v("conv.weight", convolution);
    v("scale", scale);
    v("table", table, aulos::nn::Role::derived_buffer);
  }
  bool operator==(const Net&) const = default;
};

Net random_net(std::uint64_t seed) {
  Net net;
  aulos::Random random(seed);
  aulos::nn::initialise_normal(net, random, 1);
  random.normal(net.table.data(), 6);
  return net;
}

// A checkpoint in memory.
class File {
 public:
  template <class T>
  File& add(std::string name, Dtype dtype, std::vector<Index> shape, const std::vector<T>& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(T));
    if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    names_.push_back({std::move(name), dtype, std::move(shape)});
    values_.push_back(std::move(bytes));
    return *this;
  }
  // Every parameter of the module under `prefix`, as F32.
  File& add_module(const Net& net, const std::string& prefix = "") {
    aulos::nn::for_each_parameter(net, [&](const auto& p) {
      std::vector<float> values;
      for (Index i = 0; i < p.count(); ++i) values.push_back(static_cast<float>(p.any().data()[i]));
      add(prefix + p.name, Dtype::f32, p.shape, values);
    });
    return *this;
  }
  File& drop(const std::string& name) {
    const std::size_t at = index(name);
    names_.erase(names_.begin() + static_cast<std::ptrdiff_t>(at));
    values_.erase(values_.begin() + static_cast<std::ptrdiff_t>(at));
    return *this;
  }
  File& rename(const std::string& name, const std::string& to) {
    names_[index(name)].name = to;
    return *this;
  }
  File& reshape(const std::string& name, std::vector<Index> shape) {
    names_[index(name)].shape = std::move(shape);
    return *this;
  }
  Checkpoint open() {
    for (std::size_t i = 0; i < names_.size(); ++i) names_[i].data = values_[i];
    bytes_ = aulos::io::serialize(names_);
    return Checkpoint::from_bytes(bytes_, "net.safetensors");
  }

 private:
  std::size_t index(const std::string& name) const {
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (names_[i].name == name) return i;
    ADD_FAILURE() << "no " << name;
    return 0;
  }

  std::vector<aulos::io::SaveTensor> names_;
  std::vector<std::vector<std::byte>> values_;
  std::vector<std::byte> bytes_;
};

// The values that went through float.
Net rounded(Net net) {
  for (Index i = 0; i < 5; ++i) net.scale.data()[i] = static_cast<double>(static_cast<float>(net.scale.data()[i]));
  return net;
}

TEST(Load, FillsEveryParameter) {
  const Net net = rounded(random_net(1));
  File file;
  Net loaded;
  load_parameters(loaded, file.add_module(net).open());
  EXPECT_EQ(loaded, net);
}

TEST(Load, AllOrNothing) {
  const Net before = random_net(2);
  struct Case {
    const char* what;
    void (*damage)(File&);
    std::vector<std::string> texts;
  };
  const Case cases[] = {
      {"a parameter is missing", [](File& f) { f.drop("fc2.bias"); }, {"1 missing", "'fc2.bias'", "expected [2]"}},
      {"one is renamed",
       [](File& f) { f.rename("fc1.weight", "fc1.weigth"); },
       {"1 missing", "1 unexpected", "'fc1.weight'", "'fc1.weigth'"}},
      {"one is too many",
       [](File& f) { f.add("fc3.bias", Dtype::f32, {1}, std::vector<float>{1}); },
       {"1 unexpected", "'fc3.bias'"}},
      {"a leaf below a leaf",
       [](File& f) { f.add("scale.extra", Dtype::f32, {1}, std::vector<float>{1}); },
       {"1 unexpected", "'scale.extra'"}},
      {"a shape is transposed",
       [](File& f) {
         f.reshape("fc1.weight", {4, 6});
       },
       {"1 of wrong shape", "'fc1.weight'", "expected [6, 4]", "its transpose"}},
      {"a shape has the same elements",
       [](File& f) {
         f.reshape("conv.weight", {3, 4});
       },
       {"1 of wrong shape", "'conv.weight'", "expected [3, 2, 1, 2]"}},
      {"a dtype is an integer",
       [](File& f) { f.drop("fc1.bias").add("fc1.bias", Dtype::i32, {6}, std::vector<std::int32_t>(6)); },
       {"1 of wrong dtype", "'fc1.bias'", "I32"}},
      {"the derived buffer has another shape",
       [](File& f) {
         f.reshape("table", {3, 2});
       },
       {"1 of wrong shape", "'table'"}},
      {"everything at once",
       [](File& f) {
         f.drop("scale").reshape("fc1.bias", {2, 3}).add("x", Dtype::f32, {0}, std::vector<float>{});
       },
       {"1 missing, 1 unexpected, 1 of wrong shape, 0 of wrong dtype"}},
  };
  for (const Case& c : cases) {
    File file;
    file.add_module(random_net(1));
    c.damage(file);
    Net net = before;
    try {
      load_parameters(net, file.open());
      ADD_FAILURE() << c.what;
    } catch (const CheckpointError& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.find("net.safetensors: doesn't fit the model"), 0u) << message;
      for (const std::string& text : c.texts) EXPECT_NE(message.find(text), std::string::npos) << message;
    }
    EXPECT_EQ(net, before) << c.what;
  }
}

TEST(Load, ADerivedBufferMayBeMissing) {
  const Net net = rounded(random_net(1));
  File file;
  Net loaded;
  load_parameters(loaded, file.add_module(net).drop("table").open());
  EXPECT_FALSE(loaded.table.ready());
  EXPECT_EQ(loaded.fc1, net.fc1);
}

TEST(Load, OnlyBelowThePrefix) {
  const Net net = rounded(random_net(1));
  File file;
  file.add_module(net, "model.net.").add("vae.fc1.weight", Dtype::i64, {1}, std::vector<std::int64_t>{1});
  Net loaded;
  load_parameters(loaded, file.open(), {.prefix = "model.net."});
  EXPECT_EQ(loaded, net);
  try {
    load_parameters(loaded, file.open());
    ADD_FAILURE();
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("set .prefix to 'model.net.'"), std::string::npos) << error.what();
  }
}

TEST(Load, UnexpectedNamesMayBeAllowed) {
  const Net net = rounded(random_net(1));
  File file;
  Net loaded;
  load_parameters(loaded, file.add_module(net).add("x", Dtype::u8, {1}, std::vector<std::uint8_t>{1}).open(),
                  {.allow_unexpected = true});
  EXPECT_EQ(loaded, net);
}

// ---- other layouts

struct Fused {
  aulos::nn::Linear<float> q{2, 2}, k{2, 2}, v{2, 2}, rows{2, 4};
  void visit(auto&& visitor) {
    visitor("q", q);
    visitor("k", k);
    visitor("v", v);
    visitor("rows", rows);
  }
};

TEST(Load, TakesRowsOfFusedAndExchangedTensors) {
  std::vector<float> weights(12), biases(6), rows(8), row_bias(4);
  for (std::size_t i = 0; i < 12; ++i) weights[i] = static_cast<float>(i);
  for (std::size_t i = 0; i < 6; ++i) biases[i] = static_cast<float>(100 + i);
  for (std::size_t i = 0; i < 8; ++i) rows[i] = static_cast<float>(200 + i);
  for (std::size_t i = 0; i < 4; ++i) row_bias[i] = static_cast<float>(300 + i);
  const auto place = [](const std::string& name) -> StoredAs {
    const std::string leaf = name.substr(name.find('.'));
    if (name[0] == 'r') return {.name = "final" + leaf, .parts = 2, .take = {1, 0}};
    return {.name = "qkv" + leaf, .parts = 3, .take = {name[0] == 'q' ? 0 : name[0] == 'k' ? 1 : 2}};
  };
  File file;
  file.add("qkv.weight", Dtype::f32, {6, 2}, weights).add("qkv.bias", Dtype::f32, {6}, biases);
  file.add("final.weight", Dtype::f32, {4, 2}, rows).add("final.bias", Dtype::f32, {4}, row_bias);
  Fused fused;
  load_parameters(fused, file.open(), {}, place);
  const auto values = [](const auto& p) { return std::vector<float>(p.data(), p.data() + p.count()); };
  EXPECT_EQ(values(std::as_const(fused.q.weight).rows()), (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(values(std::as_const(fused.k.weight).rows()), (std::vector<float>{4, 5, 6, 7}));
  EXPECT_EQ(values(std::as_const(fused.v.weight).rows()), (std::vector<float>{8, 9, 10, 11}));
  EXPECT_EQ(values(std::as_const(fused.v).bias), (std::vector<float>{104, 105}));
  EXPECT_EQ(values(std::as_const(fused.rows.weight).rows()),
            (std::vector<float>{204, 205, 206, 207, 200, 201, 202, 203}));
  EXPECT_EQ(values(std::as_const(fused.rows).bias), (std::vector<float>{302, 303, 300, 301}));
  // The same while it is packed.
  Fused packed;
  load_parameters(packed, file.open(), {.pack = aulos::Numeric::exact}, place);
  EXPECT_TRUE(packed.rows.weight.packed());
  aulos::nn::unpack(packed);
  EXPECT_TRUE(packed.k.weight == fused.k.weight);
  EXPECT_TRUE(packed.rows.weight == fused.rows.weight);
  // A fused tensor of another size or none at all is named as the file has it.
  for (const bool missing : {false, true}) {
    File wrong;
    if (!missing) wrong.add("qkv.weight", Dtype::f32, {4, 3}, weights);
    wrong.add("qkv.bias", Dtype::f32, {6}, biases);
    wrong.add("final.weight", Dtype::f32, {4, 2}, rows).add("final.bias", Dtype::f32, {4}, row_bias);
    try {
      load_parameters(fused, wrong.open(), {}, place);
      ADD_FAILURE();
    } catch (const CheckpointError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("'qkv.weight': expected [6, 2]"), std::string::npos) << message;
      EXPECT_NE(message.find(missing ? "1 missing" : "1 of wrong shape"), std::string::npos) << message;  // once
    }
    EXPECT_EQ(values(std::as_const(fused.q.weight).rows()), (std::vector<float>{0, 1, 2, 3}));
  }
}

// ---- saving

TEST(Save, RoundTripsAreExactInF64AndF32) {
  const Net net = random_net(3);
  const std::string path = (aulos_tests::fresh_dir() / "net.safetensors").string();
  save_parameters(net, path, Dtype::f64, {{"key", "value"}});
  Net loaded;
  const Checkpoint checkpoint = Checkpoint::open(path);
  load_parameters(loaded, checkpoint);
  EXPECT_EQ(loaded, net);
  EXPECT_EQ(checkpoint.metadata().at("key"), "value");
  EXPECT_EQ(checkpoint.info("conv.weight").shape.size(), 4u);
  save_parameters(net, path, Dtype::f32);
  load_parameters(loaded, Checkpoint::open(path));
  EXPECT_EQ(loaded, rounded(net));
}

TEST(Save, RoundTripsThroughBf16AndF16RoundOnce) {
  const Net net = random_net(3);
  const std::string path = (aulos_tests::fresh_dir() / "net.safetensors").string();
  for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) {
    save_parameters(net, path, dtype);
    EXPECT_EQ(Checkpoint::open(path).info("fc1.weight").dtype, dtype);
    Net loaded, again;
    load_parameters(loaded, Checkpoint::open(path));
    EXPECT_NE(loaded, net);
    const float* a = std::as_const(net.fc1.weight).rows().data();
    const float* b = std::as_const(loaded.fc1.weight).rows().data();
    const float ulp = dtype == Dtype::bf16 ? 0x1p-8f : 0x1p-11f;
    for (Index i = 0; i < 24; ++i) EXPECT_NEAR(b[i], a[i], ulp * std::abs(a[i]));
    save_parameters(loaded, path, dtype);
    load_parameters(again, Checkpoint::open(path));
    EXPECT_EQ(again, loaded);
  }
}

TEST(Save, APackedModelIsSavedAsRows) {
  const Net net = random_net(4);
  Net packed = net;
  aulos::nn::pack(packed);
  const std::string path = (aulos_tests::fresh_dir() / "net.safetensors").string();
  save_parameters(packed, path, Dtype::f64);
  Net loaded = packed;
  load_parameters(loaded, Checkpoint::open(path));
  EXPECT_EQ(loaded, net);
  EXPECT_TRUE(packed.fc1.weight.packed());
}

TEST(Save, AModelWithoutValuesLeavesTheOldFile) {
  const Net net = random_net(4);
  const std::string path = (aulos_tests::fresh_dir() / "net.safetensors").string();
  save_parameters(net, path, Dtype::f64);
  EXPECT_THROW(save_parameters(Net(), path, Dtype::f64), aulos::Error);
  Net loaded;
  load_parameters(loaded, Checkpoint::open(path));
  EXPECT_EQ(loaded, net);
}

}  // namespace
