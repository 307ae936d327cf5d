#include "aulos/nn/module.hpp"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aulos/nn/linear.hpp"

namespace {

using aulos::Index;
using aulos::Parameter;
using aulos::Shape;
using aulos::Weight;
using aulos::nn::for_each_parameter;
using aulos::nn::Linear;
using aulos::nn::ParameterName;
using aulos::nn::Role;

// Members of every kind.
struct Block {
  Linear<float> fc{2, 3};
  Parameter<float, 1> scale{Shape<1>{3}};
  Parameter<float, 1> absent;

  void visit(auto&& v) {
    v("fc", fc);
    v("scale", scale);
    v("absent", absent);
  }
  bool operator==(const Block&) const = default;
};

struct Whole {
  std::vector<Block> blocks{Block(), Block()};
  std::array<std::vector<Linear<float>>, 2> grid{std::vector<Linear<float>>{Linear<float>(1, 1, aulos::nn::Bias::no)},
                                                 std::vector<Linear<float>>{}};
  std::optional<Block> extra;
  Block inner;  // its names stand beside the others
  Parameter<double, 2> table{Shape<2>{4, 5}};
  Weight<float> convolution{Shape<4>{2, 3, 1, 2}};

  void visit(auto&& v) {
    v("blocks", blocks);
    v("", grid);
    v("extra", extra);
    v("", inner);
    v("table", table, Role::derived_buffer);
    v("to_out.0", convolution);
  }
};
static_assert(aulos::nn::Module<Whole> && aulos::nn::Module<Block> && aulos::nn::Module<Linear<double>>);
static_assert(!aulos::nn::Module<Parameter<float, 1>> && !aulos::nn::Module<int>);

std::vector<std::string> names(const auto& module, std::string_view prefix = {}) {
  std::vector<std::string> all;
  for_each_parameter(
      module, [&](const auto& p) { all.push_back(p.name); }, prefix);
  return all;
}

TEST(Module, IsWalkedInOrderUnderOfficialNames) {
  Whole whole;
  EXPECT_EQ(names(whole),
            (std::vector<std::string>{"blocks.0.fc.weight", "blocks.0.fc.bias", "blocks.0.scale", "blocks.1.fc.weight",
                                      "blocks.1.fc.bias", "blocks.1.scale", "0.0.weight", "fc.weight", "fc.bias",
                                      "scale", "table", "to_out.0"}));
  whole.extra = Block();
  whole.blocks.clear();
  EXPECT_EQ(names(whole, "net"),
            (std::vector<std::string>{"net.0.0.weight", "net.extra.fc.weight", "net.extra.fc.bias", "net.extra.scale",
                                      "net.fc.weight", "net.fc.bias", "net.scale", "net.table", "net.to_out.0"}));
}

TEST(Module, NamesCompareWithoutBeingPutTogether) {
  for_each_parameter(Whole(), [&](const auto& p) {
    const std::string name = p.name;
    EXPECT_EQ(p.name, name);
    for (const std::string& other : {name + "x", name + ".", name + ".0", "x" + name, name.substr(0, name.size() - 1),
                                     name.substr(1), std::string(), "a." + name}) {
      EXPECT_FALSE(p.name == other) << name << " and " << other;
    }
    EXPECT_EQ("<" + p.name + ">", "<" + name + ">");
  });
}

TEST(Module, RefersToShapesRolesAndElements) {
  Whole whole;
  whole.blocks.clear();
  std::vector<std::vector<Index>> shapes;
  for_each_parameter(whole, [&](const auto& p) {
    shapes.push_back(p.shape);
    EXPECT_EQ(p.role == Role::derived_buffer, p.name == "table");
    EXPECT_EQ(p.weight != nullptr, p.name == "fc.weight" || p.name == "0.0.weight" || p.name == "to_out.0");
    auto* data = p.data();
    for (Index i = 0; i < p.count(); ++i) data[i] = static_cast<std::remove_reference_t<decltype(*data)>>(i + 1);
    EXPECT_EQ(p.any().data(), data);
    EXPECT_EQ(p.any().count(), p.count());
  });
  EXPECT_EQ(shapes, (std::vector<std::vector<Index>>{{1, 1}, {3, 2}, {3}, {3}, {4, 5}, {2, 3, 1, 2}}));
  EXPECT_EQ(whole.inner.fc.weight.rows().data()[5], 6);
  EXPECT_EQ(whole.table.data()[19], 20);
  EXPECT_EQ(whole.convolution.rows().data()[11], 12);
}

TEST(Module, CountsParametersButNotDerivedBuffers) {
  const Whole whole;
  EXPECT_EQ(aulos::nn::parameter_count(whole), 3 * (6 + 3 + 3) + 1 + 12);
  EXPECT_EQ(aulos::nn::parameter_count(Linear<float>(Index{1} << 20, Index{1} << 20)),
            (Index{1} << 40) + (Index{1} << 20));  // without memory
}

TEST(Module, IsARegularType) {
  Block block;
  for_each_parameter(block, [n = 0.0f](const auto& p) mutable {
    for (Index i = 0; i < p.count(); ++i) p.data()[i] = ++n;
  });
  Block copy = block;
  EXPECT_EQ(copy, block);
  copy.fc.bias.data()[0] = 100;
  EXPECT_NE(copy, block);
  copy = block;
  EXPECT_EQ(copy, block);
  const Block moved = std::move(copy);
  EXPECT_EQ(moved, block);
  EXPECT_TRUE(copy.fc.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(names(copy), std::vector<std::string>());
  EXPECT_EQ(aulos::nn::parameter_count(copy), 0);
}

TEST(Module, PacksAndUnpacksItsWeights) {
  Block block;
  for_each_parameter(block, [n = 0.0f](const auto& p) mutable {
    for (Index i = 0; i < p.count(); ++i) p.data()[i] = (n += 0.125f);
  });
  Block packed = block;
  aulos::nn::pack(packed);
  EXPECT_TRUE(packed.fc.weight.packed());
  EXPECT_NE(packed, block);
  EXPECT_EQ(names(packed), names(block));
  EXPECT_EQ(aulos::nn::parameter_count(packed), aulos::nn::parameter_count(block));
  const Block copy = packed;
  EXPECT_EQ(copy, packed);
  aulos::nn::unpack(packed);
  EXPECT_EQ(packed, block);
  aulos::nn::pack(packed, aulos::Numeric::bf16);
  EXPECT_NE(packed, copy);
  aulos::nn::unpack(packed);
  EXPECT_EQ(packed, block);  // eighths up to 1.5 are bf16 numbers
  Block unloaded;
  EXPECT_THROW(aulos::nn::pack(unloaded), aulos::Error);
}

TEST(Module, WritingToAPackedWeightUnpacksIt) {
  Linear<float> layer(2, 2, aulos::nn::Bias::no);
  for (Index i = 0; i < 4; ++i) layer.weight.rows().data()[i] = static_cast<float>(i);
  aulos::nn::pack(layer);
  for_each_parameter(layer, [](const auto& p) {
    EXPECT_EQ(p.count(), 4);
    EXPECT_EQ(p.data()[3], 3);
    p.data()[0] = 9;
  });
  EXPECT_FALSE(layer.weight.packed());
  EXPECT_EQ(layer.weight.rows().data()[0], 9);
}

}  // namespace
