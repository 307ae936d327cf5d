// autograd.position: rotary embedding in both layouts, token embedding, time embedding.
#include "aulos/nn/linear.hpp"
#include "aulos/ops/embedding.hpp"
#include "aulos/ops/rope.hpp"
#include "aulos/ops/sinusoid.hpp"
#include "verify/families.hpp"

namespace verify {

using namespace aulos;

namespace {

struct Embeddings {
  Parameter<float, 2> table;
  nn::Linear<float> t0, t2;

  Embeddings(Index ids, Index width, Index out) : table(Shape<2>{ids, out}), t0(width, out), t2(out, out) {}
  void visit(auto&& v) {
    v("table", table);
    v("t0", t0);
    v("t2", t2);
  }
};

void position(Case& c) {
  const auto q = c.input<4>("q");  // heads in front of tokens
  const RopeOptions options{.theta = c.config().get<double>("base"), .precision = RopePrecision::float32};
  const RopeTable<float> table =
      rope_table<float>(c.context(), q.extent(2), q.extent(3), options, c.config().get<Index>("offset"));
  const auto turned = [&](RopePairs pairs) {
    return rope(q.permute_leading({0, 2, 1, 3}), table, pairs).permute_leading({0, 2, 1, 3});
  };
  c.output("rope_half", turned(RopePairs::half_split));
  c.output("rope_interleaved", turned(RopePairs::interleaved));

  const auto& table_shape = c.checkpoint().info("param/table").shape;
  const Index width = c.config().get<Index>("freq_dim");
  const auto& embeddings = c.module<Embeddings>(table_shape[0], width, table_shape[1]);
  c.output("embedding", embedding(embeddings.table.tensor(), c.indices<2>("ids")));
  const auto waves = sinusoid(c.input<1>("t"), {.width = width});
  c.output("timestep_embedding", waves);
  c.output("timestep_mlp", embeddings.t2(silu(embeddings.t0(waves))));
}

}  // namespace

void add_autograd_position(Registry& registry) { registry.add("autograd.position", position); }

}  // namespace verify
