// A callable that can't be called with the reference's arguments is refused where the reference is made.
// expect: FunctionRef<void ?\(int\)>
// max_lines: 20
#include "aulos/core/function_ref.hpp"

int main() {
  auto wants_two = [](int, int) {};
  aulos::FunctionRef<void(int)> reference = wants_two;
  reference(1);
}
