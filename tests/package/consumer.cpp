// Trains one step with nothing but the installed headers and libraries.

#include <cstdio>

#include "retnet/model.h"

int main() {
  using namespace retnet;
  RetNet model(preset("tiny"));
  const Tensor tokens = Tensor::from<std::int32_t>({1, 2, 3, 4}, {1, 4});
  const Tensor targets = Tensor::from<std::int32_t>({2, 3, 4, 5}, {1, 4});
  const Variable loss = model.loss(tokens, targets);
  backward(loss);
  for (const Parameter& p : model.parameters())
    if (!p.variable.grad().defined()) return 1;
  std::printf("loss %.3f\n", loss.value().item());
  return loss.value().item() > 4 && loss.value().item() < 7 ? 0 : 1;
}
