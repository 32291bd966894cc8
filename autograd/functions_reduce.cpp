// Sums, the matrix product and functions of whole rows, each with its gradient rule.

#include "autograd/functions.h"

namespace retnet {

Variable sum(const Variable& x) {
  return record("sum", sum(x.value()), {x},
                [sx = x.shape()](const Tensor& dy) { return std::vector<Tensor>{broadcast_to(dy, sx)}; });
}

Variable sum(const Variable& x, int axis, bool keep) {
  return record("sum", sum(x.value(), axis, keep), {x},
                [sx = x.shape(), axis = normalize_axis("sum", axis, x.rank()), keep](const Tensor& dy) {
                  return std::vector<Tensor>{broadcast_to(keep ? dy : unsqueeze(dy, axis), sx)};
                });
}

Variable mean(const Variable& x) {
  return record("mean", mean(x.value()), {x}, [sx = x.shape(), n = x.size()](const Tensor& dy) {
    return std::vector<Tensor>{broadcast_to(mul(dy, 1.0 / static_cast<double>(n)), sx)};
  });
}

Variable mean(const Variable& x, int axis, bool keep) {
  return record("mean", mean(x.value(), axis, keep), {x},
                [sx = x.shape(), axis = normalize_axis("mean", axis, x.rank()), keep](const Tensor& dy) {
                  const Tensor dmean =
                      mul(keep ? dy : unsqueeze(dy, axis), 1.0 / static_cast<double>(sx[axis]));
                  return std::vector<Tensor>{broadcast_to(dmean, sx)};
                });
}

namespace {

/// dB of C = A B for one matrix B shared by a batch of A: the batch is summed by being rows of one long
/// product.
Tensor shared_matrix_grad(const Tensor& a, const Tensor& dc, bool transpose_b) {
  const std::int64_t m = count(Shape(a.shape().begin(), a.shape().end() - 1));  // not -1: k or n may be 0
  const Tensor rows = reshape(a, {m, a.dim(-1)}), drows = reshape(dc, {m, dc.dim(-1)});
  return transpose_b ? matmul(drows, rows, true, false) : matmul(rows, drows, true, false);
}

}  // namespace

Variable matmul(const Variable& a, const Variable& b, bool transpose_a, bool transpose_b) {
  // C = A B:  dA = dC B^T [m, k],  dB = A^T dC [k, n]; for a transposed operand the transpose of that.
  // Operands that were repeated over the batch collect the sum.
  return record("matmul", matmul(a.value(), b.value(), transpose_a, transpose_b), {a, b},
                [a = b.requires_grad() ? a.recipe() : Recipe(), b = a.requires_grad() ? b.recipe() : Recipe(),
                 sa = a.shape(), sb = b.shape(), ta = transpose_a, tb = transpose_b](const Tensor& dc) {
                  Tensor da, db;
                  if (b) da = sum_to(ta ? matmul(b(), dc, tb, true) : matmul(dc, b(), false, !tb), sa);
                  if (a && sb.rank() == 2 && !ta)
                    db = shared_matrix_grad(a(), dc, tb);
                  else if (a)
                    db = sum_to(tb ? matmul(dc, a(), true, ta) : matmul(a(), dc, !ta, false), sb);
                  return std::vector<Tensor>{da, db};
                });
}

Variable softmax(const Variable& x) {
  // dy_i/dx_j = y_i ([i = j] - y_j):  dx = y (dy - sum(dy y))
  const Tensor y = softmax(x.value());
  return record("softmax", y, {x},
                [y](const Tensor& dy) { return std::vector<Tensor>{softmax_grad(y, dy)}; });
}

Variable log_sum_exp(const Variable& x) {
  // d lse / dx = softmax(x)
  return record("log_sum_exp", log_sum_exp(x.value()), {x}, [x = x.value()](const Tensor& dy) {
    return std::vector<Tensor>{mul(softmax(x), unsqueeze(dy, -1))};
  });
}

Variable normalize(const Variable& x, double eps, bool center) {
  // y = (x - m) r with r = (mean((x - m)^2) + eps)^(-1/2); derived in docs/gradients.md:
  // dx = r (dy - mean(dy) - y mean(dy y)), without mean(dy) when there is no centring.
  const Normalized saved = normalize(x.value(), eps, center);
  return record("normalize", saved.y, {x}, [saved, center](const Tensor& dy) {
    return std::vector<Tensor>{normalize_grad(saved, dy, center)};
  });
}

Variable cross_entropy(const Variable& logits, const Tensor& targets) {
  // loss = lse(x) - x_target:  dx = dloss (softmax(x) - onehot(target))
  const CrossEntropy saved = cross_entropy(logits.value(), targets);
  return record("cross_entropy", saved.loss, {logits},
                [saved, x = logits.value(), targets](const Tensor& dloss) {
                  return std::vector<Tensor>{cross_entropy_grad(saved, x, targets, dloss)};
                });
}

Variable embedding(const Variable& table, const Tensor& ids) {
  // Row ids[i] of the table receives the sum of dy over all i that read it.
  return record("embedding", embedding(table.value(), ids), {table},
                [ids, vocab = table.dim(0)](const Tensor& dy) {
                  return std::vector<Tensor>{embedding_grad(dy, ids, vocab)};
                });
}

Variable gather(const Variable& x, const Tensor& ids) {
  return record("gather", gather(x.value(), ids), {x}, [ids, n = x.dim(-1)](const Tensor& dy) {
    return std::vector<Tensor>{gather_grad(dy, ids, n)};
  });
}

Variable rotate(const Variable& x, const Tensor& cosines, const Tensor& sines) {
  // y = R x with a rotation R per pair: dx = R^T dy, the rotation back.
  return record("rotate", rotate(x.value(), cosines, sines), {x}, [cosines, sines](const Tensor& dy) {
    return std::vector<Tensor>{rotate(dy, cosines, sines, true)};
  });
}

Variable recompute(const std::function<Variable(const std::vector<Variable>&)>& f,
                   const std::vector<Variable>& inputs) {
  Tensor y;
  {
    const NoGrad no_grad;
    y = f(inputs).value();
  }
  // The rule captures values, as every rule does, and makes leaves of them for a graph of its own.
  std::vector<std::pair<Tensor, bool>> saved;
  for (const Variable& input : inputs) saved.emplace_back(input.value(), input.requires_grad());
  return record("recompute", y, inputs, [f, saved](const Tensor& dy) {
    std::vector<Variable> leaves;
    for (const auto& [value, wanted] : saved) leaves.emplace_back(value, wanted);
    const Recording on(true);  // backward() has switched it off
    return gradients(f(leaves), dy, leaves);
  });
}

}  // namespace retnet
