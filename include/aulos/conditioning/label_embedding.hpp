// Class labels as conditions, with a class that means none.
#pragma once

#include <cstdint>
#include <string>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/parameter.hpp"
#include "aulos/core/random.hpp"
#include "aulos/nn/module.hpp"
#include "aulos/ops/embedding.hpp"

namespace aulos::inline AULOS_ISA::conditioning {

// The labels with each replaced by `null_label` with the given probability: what classifier-free guidance trains with.
// Draws one number per label.
inline Tensor<std::int64_t, 1> drop_labels(const Tensor<std::int64_t, 1>& labels, std::int64_t null_label,
                                           double probability, Random& random) {
  const Op op("drop_labels", arg("labels", labels.any()));
  if (!(probability >= 0 && probability <= 1))
    throw ConfigError("drop_labels: probability is " + std::to_string(probability) + ", expected 0 to 1");
  const AnyTensor<std::int64_t> from = op.dense(labels.any());
  const AnyTensor<std::int64_t> kept = op.context().empty_any<std::int64_t>(from.dims());
  op.run({.bytes = 16.0 * static_cast<double>(from.count())}, [&](Threads) {
    for (Index i = 0; i < from.count(); ++i) {
      double u = 0;
      random.uniform(&u, 1);
      kept.mutable_data()[i] = u < probability ? null_label : from.data()[i];
    }
  });
  return Tensor<std::int64_t, 1>(kept);
}

// A row per class and, where labels are dropped in training, one more for no class. LabelEmbedder of DiT.
template <Real T>
struct LabelEmbedding {
  Parameter<T, 2> table;  // [classes (+ 1), C]
  Index classes = 0;
  double dropout = 0;

  LabelEmbedding() = default;
  LabelEmbedding(Index class_count, Index channels, double dropout_probability = 0)
      : table(Shape<2>{class_count + (dropout_probability > 0 ? 1 : 0), channels}),
        classes(class_count),
        dropout(dropout_probability) {}

  // The label of no class, for guidance. Throws ConfigError where the table has no row for it.
  std::int64_t null_label() const {
    if (table.extent(0) <= classes) throw ConfigError("label embedding: no row for the null class: the dropout is 0");
    return classes;
  }

  // labels [B] in 0 .. classes -> [B, C]
  Tensor<T, 2> operator()(const Tensor<std::int64_t, 1>& labels) const { return embedding(table.tensor(), labels); }
  // In training: some are dropped.
  Tensor<T, 2> operator()(const Tensor<std::int64_t, 1>& labels, Random& random) const {
    return dropout > 0 ? (*this)(drop_labels(labels, null_label(), dropout, random)) : (*this)(labels);
  }
  void visit(auto&& v) { v("embedding_table.weight", table); }
  bool operator==(const LabelEmbedding&) const = default;
};

}  // namespace aulos::inline AULOS_ISA::conditioning
