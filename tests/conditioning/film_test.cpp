#include "aulos/conditioning/film.hpp"

#include "aulos/nn/initialise.hpp"
#include "conditioning/conditioning_support.hpp"

namespace {

using namespace conditioning_support;
using aulos::conditioning::Film;
using aulos::conditioning::FilmScale;

static_assert(aulos::nn::Module<Film<float>>);

TEST(Films, GammaFirstOnTokens) {
  Context context({.threads = 1});
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 3);
  for (const FilmScale form : {FilmScale::gamma, FilmScale::one_plus_gamma}) {
    Film<float> film(5, 4, form);
    naive::randomise(film, 1);
    const naive::Tokens rows = naive::linear(vectors(c), film.linear);
    naive::Tokens gamma = channels_of(rows, 0, 2);
    if (form == FilmScale::gamma) gamma = gamma.map([](double g) { return g - 1; });
    naive::expect_near(film(x, c), naive::modulate(naive::Tokens(x), channels_of(rows, 1, 2), gamma), 1e-6);
    EXPECT_EQ(names_of(film), "weight bias ");
  }
}

// Feature maps are the same numbers with the channels in front.
TEST(Films, FeatureMaps) {
  Context context({.threads = 1});
  const auto maps = naive::random<float, 4>(context, Shape<4>{2, 4, 3, 2}, 2);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 3);
  for (const FilmScale form : {FilmScale::gamma, FilmScale::one_plus_gamma}) {
    Film<float> film(5, 4, form);
    naive::randomise(film, 1);
    const auto tokens = aulos::permute(maps, Shape<4>{0, 2, 3, 1}).reshape(Shape<3>{2, 6, 4});
    const auto want = film(tokens, c);
    const auto y = film(maps, c);
    for (Index b = 0; b < 2; ++b)
      for (Index ch = 0; ch < 4; ++ch)
        for (Index p = 0; p < 6; ++p) EXPECT_NEAR(y(b, ch, p / 2, p % 2), want(b, p, ch), 1e-6f);
  }
}

TEST(Films, OnePlusGammaIsTheIdentityAtZero) {
  Context context({.threads = 1});
  Film<float> film(5, 4, FilmScale::one_plus_gamma);
  aulos::nn::zero(film);
  const auto x = naive::random<float, 3>(context, Shape<3>{2, 3, 4}, 2);
  const auto c = naive::random<float, 2>(context, Shape<2>{2, 5}, 3);
  EXPECT_EQ(naive::values(film(x, c)), naive::values(x));
  film.form = FilmScale::gamma;
  for (const float v : naive::values(film(x, c))) EXPECT_EQ(v, 0.0f);
  EXPECT_THROW(film(context.zeros<float>(Shape<3>{2, 3, 5}), c), aulos::ShapeError);
  EXPECT_THROW(film(context.zeros<float>(Shape<4>{2, 5, 3, 3}), c), aulos::ShapeError);
}

TEST(Films, Gradients) {
  Context context({.threads = 1});
  for (const FilmScale form : {FilmScale::gamma, FilmScale::one_plus_gamma}) {
    Film<double> film(3, 4, form);
    naive::randomise(film, 1);
    expect_gradients(
        context, film,
        [&](const Tensor<double, 3>& x, const Tensor<double, 4>& maps, const Tensor<double, 2>& c) {
          return std::tuple(film(x, c), film(maps, c));
        },
        std::tuple(naive::random<double, 3>(context, Shape<3>{2, 3, 4}, 2),
                   naive::random<double, 4>(context, Shape<4>{2, 4, 2, 3}, 3),
                   naive::random<double, 2>(context, Shape<2>{2, 3}, 4)));
  }
}

}  // namespace
