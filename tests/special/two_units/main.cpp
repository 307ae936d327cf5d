#include "all.hpp"

int main() {
  aulos::Context context({.threads = 1});
  const auto first = from_first(context), second = from_second(context);
  for (aulos::Index i = 0; i < 2; ++i) {
    for (aulos::Index j = 0; j < 3; ++j) {
      if (first(i, j) != 3.0F || second(i, j) != 3.0F) return 1;
    }
  }
}
