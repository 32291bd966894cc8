// The operation table: fused chunkwise retention, against the recurrence that defines it, Eq. (6). That it
// equals the composed forms, with every option, is in tests/retnet.

#include "tests/support/op_table.h"

namespace retnet::test {
namespace {

constexpr std::int64_t kChunk = 3;  // divides few of the lengths
constexpr double kGamma[] = {0.9, 0.6};

/// The table [2, rows, columns] of f(gamma, row, column), one sheet a head, of the dtype and on the device of
/// another tensor.
template <class F>
Tensor per_head(std::int64_t rows, std::int64_t columns, const Tensor& like, F f) {
  const Tensor x = Tensor::empty({2, rows, columns}, like.dtype());
  write(x, make_array(x.shape(), [&](const Index& i) {
          return f(kGamma[i[0]], static_cast<double>(i[1]), static_cast<double>(i[2]));
        }));
  return x.to(like.device());
}

/// sqrt(s_n) with s_n = 1 + gamma + .. + gamma^n, Eq. (R3).
double root_of_sum(double gamma, double n) { return std::sqrt((1 - std::pow(gamma, n + 1)) / (1 - gamma)); }

/// in[] = q, k, v, S and, for normalised scores, z; and the decays that belong to them and to a chunk length.
RetentionInputs retention_inputs(const std::vector<Tensor>& in, std::int64_t chunk = kChunk) {
  const bool normalized = in.size() == 5;
  RetentionInputs r{in[0], in[1], in[2], in[3], {}, {}, {}, true};
  r.z = normalized ? in[4] : Tensor::zeros({in[0].dim(0), 2, in[0].dim(3)}, in[0].dtype(), in[0].device());
  r.powers =
      squeeze(per_head(chunk + 1, 1, in[0], [](double g, double i, double) { return std::pow(g, i); }), 2);
  if (normalized)
    r.root_s = per_head(in[0].dim(2), 1, in[0], [](double g, double n, double) { return root_of_sum(g, n); });
  return r;
}

/// What the recurrence leaves: o [B, H, N, dv], and S and z after the last step.
struct Retained {
  Array o, S, z;
};

/// One step of one head, Eq. (6), (R2): S and z advance in place, and the output row is written at `out`.
void recurrent_step(const std::vector<Array>& in, Index at, double divide_by_root, Retained& r, double* out) {
  const double gamma = kGamma[at[1]];
  const std::int64_t dk = in[0].shape.back(), dv = in[2].shape.back(), bh = at[0] * 2 + at[1];
  double* S = r.S.values.data() + bh * dk * dv;
  double* z = r.z.values.data() + bh * dk;
  double row_sum = 0;
  at.push_back(0);
  std::fill_n(out, dv, 0.0);
  for (std::int64_t i = 0; i < dk; ++i) {
    at[3] = i;
    const double q = element(in[0], at), k = element(in[1], at);
    z[i] = gamma * z[i] + k;
    row_sum += q * z[i];
    for (std::int64_t j = 0; j < dv; ++j) {
      at[3] = j;
      S[i * dv + j] = gamma * S[i * dv + j] + k * element(in[2], at);
      out[j] += q * S[i * dv + j];
    }
  }
  if (divide_by_root > 0)
    for (std::int64_t j = 0; j < dv; ++j) out[j] /= std::max(std::fabs(row_sum), divide_by_root);  // Eq. (R4)
}

Retained recurrence(const std::vector<Array>& in) {
  const bool normalized = in.size() == 5;
  Retained r{{in[2].shape, std::vector<double>(in[2].values.size())}, in[3], {}};
  r.z = normalized ? in[4] : Array{{}, std::vector<double>(in[3].values.size())};
  const std::int64_t dv = in[2].shape.back();
  double* out = r.o.values.data();
  for_each_index({in[2].shape[0], 2, in[2].shape[2]}, [&](const Index& at) {
    const double root = normalized ? root_of_sum(kGamma[at[1]], static_cast<double>(at[2])) : 0;
    recurrent_step(in, at, root, r, out);
    out += dv;
  });
  return r;
}

std::vector<Case> normalized_cases(std::int64_t n) {
  return {{{2, 2, n, 4}, {2, 2, n, 4}, {2, 2, n, 3}, {2, 2, 4, 3}, {2, 2, 4}},
          {{1, 2, 4, 2}, {1, 2, 4, 2}, {1, 2, 4, n + 1}, {1, 2, 2, n + 1}, {1, 2, 2}}};
}

/// Without z, which the output does not depend on when the scores are not normalised.
std::vector<Case> plain_cases(std::int64_t n) {
  std::vector<Case> cases = normalized_cases(n);
  for (Case& inputs : cases) inputs.pop_back();
  return cases;
}

}  // namespace

void add_retention(std::vector<Operation>& table) {
  for (const bool normalized : {false, true})
    for (const bool parallel : {false, true}) {
      const auto run = [parallel](const std::vector<Tensor>& in) {
        return parallel ? retention_parallel(retention_inputs(in, in[0].dim(2)))
                        : retention(retention_inputs(in));
      };
      Operation op;
      op.name = std::string(parallel ? "parallel " : "") + "retention" +
                (normalized ? " with normalised scores" : "");
      op.declared = {parallel ? "retention_parallel(RetentionInputs)" : "retention(RetentionInputs)",
                     "retention_grad(RetentionInputs, RetentionOutputs, Tensor, bool, RetentionMemory)"};
      op.cases = normalized ? normalized_cases : plain_cases;
      op.function = [run](const std::vector<Variable>& x) {
        std::vector<Tensor> values;
        for (const Variable& input : x) values.push_back(input.value());
        const RetentionOutputs out = run(values);
        return record("retention", out.o, x,
                      [in = retention_inputs(values), out, n = x.size()](const Tensor& dO) {
                        std::vector<Tensor> gradients = retention_grad(in, out, dO);
                        gradients.resize(n);
                        return gradients;
                      });
      };
      op.value = [run](const std::vector<Tensor>& in) { return run(at_least_f32(in)).o; };
      op.reference = [](const std::vector<Array>& in) { return recurrence(in).o; };
      op.large = 2003;
      table.push_back(op);
    }
  table.push_back(value_only(
      "the state of retention", {}, normalized_cases,
      [](const std::vector<Tensor>& in) {
        const RetentionOutputs out = retention(retention_inputs(at_least_f32(in)));
        return concat({reshape(out.S, {-1}), reshape(out.z, {-1})}, 0);
      },
      [](const std::vector<Array>& in) {
        Retained r = recurrence(in);
        r.S.values.insert(r.S.values.end(), r.z.values.begin(), r.z.values.end());
        return Array{{static_cast<std::int64_t>(r.S.values.size())}, r.S.values};
      }));
  table.back().large = 2003;
}

}  // namespace retnet::test
