// The worked example of docs/recurrent.md, parallel.md and chunkwise.md, number by number, and the gradient formulas of
// retention, (G10) to (G13), written out in loops and compared with the recorded graph of each form.

#include <cmath>

#include "autograd/functions.h"
#include "retnet/retention.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

using Row = std::vector<double>;
using Matrix = std::vector<Row>;

/// |a - b| <= tolerance |b|
bool close(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance * std::abs(b); }

Matrix zeros(std::size_t rows, std::size_t columns) { return Matrix(rows, Row(columns, 0.0)); }

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c = zeros(a.size(), b[0].size());
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t p = 0; p < b.size(); ++p)
      for (std::size_t j = 0; j < b[0].size(); ++j) c[i][j] += a[i][p] * b[p][j];
  return c;
}

Matrix transposed(const Matrix& a) {
  Matrix t = zeros(a[0].size(), a.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < a[0].size(); ++j) t[j][i] = a[i][j];
  return t;
}

Matrix plus(const Matrix& a, const Matrix& b, double factor = 1) {
  Matrix c = a;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < a[0].size(); ++j) c[i][j] += factor * b[i][j];
  return c;
}

/// The last two dimensions of x [1, 1, .., ..]; of z [1, 1, dk], one row.
Matrix matrix_of(const Tensor& x) {
  const Row values = x.to_vector<double>();
  const auto columns = static_cast<std::size_t>(x.dim(-1));
  Matrix m;
  for (std::size_t i = 0; i < values.size(); i += columns)
    m.emplace_back(values.begin() + static_cast<std::ptrdiff_t>(i),
                   values.begin() + static_cast<std::ptrdiff_t>(i + columns));
  return m;
}

double worst(const Matrix& a, const Tensor& x) {
  const Matrix b = matrix_of(x);
  double largest = 0, apart = 0;
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < a[i].size(); ++j) {
      largest = std::max(largest, std::abs(b[i][j]));
      apart = std::max(apart, std::abs(a[i][j] - b[i][j]));
    }
  return apart / largest;
}

// ---- the worked example: gamma = 1/2, three steps, dk = dv = 1

struct Example {
  Variable q{Tensor::from(Row{1, 2, 0.5}, {1, 1, 3, 1}), true}, k{Tensor::from(Row{2, 1, 1}, {1, 1, 3, 1}), true},
      v{Tensor::from(Row{1, 2, 4}, {1, 1, 3, 1}), true};
  RetentionOptions options{{0.5}, ScoreNorm::paper, true};
  RetentionState zero = initial_state(1, 1, 1, 1, Dtype::f64);
};

TEST_CASE("The worked example: all three forms give the numbers of the book", "[docs][eq5][eq6][eq7][eqR2][eqR3][eqR4]") {
  const Example e;
  for (const Form form : {Form::parallel, Form::recurrent, Form::chunkwise}) {
    CAPTURE(static_cast<int>(form));
    const Retained retained = retention(form, e.q, e.k, e.v, e.zero, e.options, 2);
    CHECK(close(retained.o.value().at({0, 0, 0, 0}), 1, 1e-15));
    CHECK(close(retained.o.value().at({0, 0, 1, 0}), 1.5, 1e-15));
    CHECK(close(retained.o.value().at({0, 0, 2, 0}), 11 / (2 * std::sqrt(7.0)), 1e-15));
    CHECK(close(retained.o.value().at({0, 0, 2, 0}), 2.0788, 1e-4));
    CHECK(retained.state.S.value().item() == 5.5);
    CHECK(retained.state.z.value().item() == 2);
    CHECK(retained.state.s[0] == 1.75);
    CHECK(retained.state.pos == 3);
  }
}

TEST_CASE("The worked example: states after every step", "[docs][eq6][eqR2][eqR3]") {
  const Example e;
  const double S[] = {2, 3, 5.5}, z[] = {2, 2, 2}, s[] = {1, 1.5, 1.75};
  RetentionState at = e.zero;
  for (std::int64_t n = 0; n < 3; ++n) {
    const auto step = [n](const Variable& x) { return slice(x, 2, n, n + 1); };
    at = retention_recurrent(step(e.q), step(e.k), step(e.v), at, e.options).state;
    CHECK(at.S.value().item() == S[n]);
    CHECK(at.z.value().item() == z[n]);
    CHECK(at.s[0] == s[n]);
  }
}

TEST_CASE("The worked example: gradients without divisor", "[docs][eqG10][eqG11]") {
  Example e;
  e.options.score_norm = ScoreNorm::none;
  const Row dq{2, 3, 5.5}, dk{2.125, 4.5, 2}, dv{4.25, 2.25, 0.5};
  for (const Form form : {Form::parallel, Form::recurrent, Form::chunkwise}) {
    CAPTURE(static_cast<int>(form));
    const Variable o = retention(form, e.q, e.k, e.v, e.zero, e.options, 2).o;
    const std::vector<Tensor> g = gradients(o, Tensor::full({1, 1, 3, 1}, 1, Dtype::f64), {e.q, e.k, e.v});
    CHECK(g[0].to_vector<double>() == dq);
    CHECK(g[1].to_vector<double>() == dk);
    CHECK(g[2].to_vector<double>() == dv);
  }
}

TEST_CASE("The worked example: a chunk that normalises by itself gives another number", "[docs][eq7]") {
  const Example e;
  const auto last = [](const Variable& x) { return slice(x, 2, 2, 3); };
  RetentionState before = retention_parallel(slice(e.q, 2, 0, 2), slice(e.k, 2, 0, 2), slice(e.v, 2, 0, 2), e.zero,
                                             e.options).state;
  CHECK(close(retention_parallel(last(e.q), last(e.k), last(e.v), before, e.options).o.value().item(), 2.0788, 1e-4));
  before.s[0] = 0;
  before.z = Variable(Tensor::zeros({1, 1, 1}, Dtype::f64));
  CHECK(retention_parallel(last(e.q), last(e.k), last(e.v), before, e.options).o.value().item() == 2.75);
}

// ---- the gradient formulas

/// Random inputs, an earlier state, and cotangents of everything that a form returns.
struct Problem {
  std::int64_t N, dk = 4, dv = 3;
  double gamma = 0.8;
  Variable q, k, v;
  RetentionState state;
  RetentionOptions options;
  Tensor dO, dS, dz;

  Problem(std::int64_t steps, ScoreNorm norm)
      : N(steps), q(random({1, 1, N, dk}, 1), true), k(random({1, 1, N, dk}, 2), true),
        v(random({1, 1, N, dv}, 3), true), dO(random({1, 1, N, dv}, 6)), dS(random({1, 1, dk, dv}, 7)),
        dz(random({1, 1, dk}, 8)) {
    state = {Variable(random({1, 1, dk, dv}, 4), true), Variable(random({1, 1, dk}, 5), true), {1.7}, 5};
    options = {{gamma}, norm, true};
  }

  /// Gradients of q, k, v, S and z before, by the recorded graph of a form.
  std::vector<Tensor> recorded(Form form, std::int64_t chunk) const {
    const Retained y = retention(form, q, k, v, state, options, chunk);
    const Variable loss = add(add(sum(mul(y.o, Variable(dO))), sum(mul(y.state.S, Variable(dS)))),
                              sum(mul(y.state.z, Variable(dz))));
    return gradients(loss, Tensor::full({}, 1, Dtype::f64), {q, k, v, state.S, state.z});
  }
};

/// The same five gradients, by a formula of the book.
struct Book {
  Matrix dq, dk, dv, dS, dz;
};

/// What a formula starts from: states after each step, and (G13).
struct Forward {
  Matrix q, k, v;
  std::vector<Matrix> S;  ///< S[n] before step n
  Matrix z;               ///< z[n] before step n
  Matrix do_;             ///< gradient of q S
  Row dr;                 ///< gradient of q z

  explicit Forward(const Problem& p) : q(matrix_of(p.q.value())), k(matrix_of(p.k.value())), v(matrix_of(p.v.value())) {
    S.push_back(matrix_of(p.state.S.value()));
    z.push_back(matrix_of(p.state.z.value())[0]);
    do_ = matrix_of(p.dO);
    double s = p.state.s[0];
    for (std::size_t n = 0; n < q.size(); ++n) {
      Matrix next = product(transposed({k[n]}), {v[n]});
      S.push_back(plus(next, S[n], p.gamma));
      z.push_back(plus({k[n]}, {z[n]}, p.gamma)[0]);
      s = p.gamma * s + 1;
      const Row o = product({q[n]}, S[n + 1])[0];
      const double r = product({q[n]}, transposed({z[n + 1]}))[0][0];
      const bool row_sum_decides = std::abs(r) >= std::sqrt(s);
      const double c = p.options.score_norm == ScoreNorm::none ? 1 : std::max(std::abs(r), std::sqrt(s));
      double dot = 0;
      for (std::size_t j = 0; j < o.size(); ++j) dot += do_[n][j] * o[j] / c;
      // Eq. (G13)
      for (double& x : do_[n]) x /= c;
      const bool flows = p.options.score_norm == ScoreNorm::paper && row_sum_decides;
      dr.push_back(flows ? -dot / c * (r > 0 ? 1 : -1) : 0);
    }
  }
};

/// Eq. (G11), from the last step to the first.
Book recurrent_formula(const Problem& p) {
  const Forward f(p);
  const std::size_t N = f.q.size();
  Matrix dS = matrix_of(p.dS), dz = matrix_of(p.dz);
  Book g{zeros(N, 4), zeros(N, 4), zeros(N, 3), {}, {}};
  double fade = 1;  // the returned state is the last step's, not decayed
  for (std::size_t n = N; n-- > 0; fade = p.gamma) {
    dS = plus(product(transposed({f.q[n]}), {f.do_[n]}), dS, fade);
    dz = plus({Row(4, 0.0)}, dz, fade);
    dz = plus(dz, {f.q[n]}, f.dr[n]);
    g.dq[n] = plus(product({f.do_[n]}, transposed(f.S[n + 1])), {f.z[n + 1]}, f.dr[n])[0];
    g.dk[n] = plus(product({f.v[n]}, transposed(dS)), dz)[0];
    g.dv[n] = product({f.k[n]}, dS)[0];
  }
  g.dS = plus(zeros(4, 3), dS, p.gamma);
  g.dz = plus(zeros(1, 4), dz, p.gamma);
  return g;
}

/// Eq. (G12) over one chunk, with Eq. (G10) within it.
Book chunk_formula(const Problem& p) {
  const Forward f(p);
  const std::size_t C = f.q.size();
  const Matrix S_prev = f.S[0], z_prev = {f.z[0]}, dS_next = matrix_of(p.dS), dz_next = matrix_of(p.dz);
  Matrix dA = product(f.do_, transposed(f.v)), P = product(f.q, transposed(f.k));
  for (std::size_t i = 0; i < C; ++i)
    for (std::size_t j = 0; j < C; ++j) {
      const double D = i >= j ? std::pow(p.gamma, static_cast<double>(i - j)) : 0;
      dA[i][j] = (dA[i][j] + f.dr[i]) * D;  // Eq. (G10)
      P[i][j] *= D;
    }
  Book g{product(dA, f.k), product(transposed(dA), f.q), product(transposed(P), f.do_), {}, {}};
  const double whole = std::pow(p.gamma, static_cast<double>(C));
  g.dS = plus(zeros(4, 3), dS_next, whole);
  g.dz = plus(zeros(1, 4), dz_next, whole);
  for (std::size_t i = 0; i < C; ++i) {
    const double from = std::pow(p.gamma, static_cast<double>(i + 1)), to = std::pow(p.gamma, static_cast<double>(C - 1 - i));
    g.dS = plus(g.dS, product(transposed({f.q[i]}), {f.do_[i]}), from);
    g.dz = plus(g.dz, {f.q[i]}, from * f.dr[i]);
    g.dq[i] = plus({g.dq[i]}, plus(product({f.do_[i]}, transposed(S_prev)), z_prev, f.dr[i]), from)[0];
    g.dk[i] = plus({g.dk[i]}, plus(product({f.v[i]}, transposed(dS_next)), dz_next), to)[0];
    g.dv[i] = plus({g.dv[i]}, product({f.k[i]}, dS_next), to)[0];
  }
  return g;
}

void check_book(const Book& book, const std::vector<Tensor>& recorded) {
  CHECK(worst(book.dq, recorded[0]) <= 1e-12);
  CHECK(worst(book.dk, recorded[1]) <= 1e-12);
  CHECK(worst(book.dv, recorded[2]) <= 1e-12);
  CHECK(worst(book.dS, recorded[3]) <= 1e-12);
  CHECK(worst(book.dz, recorded[4]) <= 1e-12);
}

TEST_CASE("Eq. (G11) and (G13): the recurrent form's backward pass", "[docs][eqG11][eqG13]") {
  for (const std::int64_t N : {1, 2, 7})
    for (const ScoreNorm norm : {ScoreNorm::none, ScoreNorm::paper}) {
      CAPTURE(N, static_cast<int>(norm));
      const Problem p(N, norm);
      Book book = recurrent_formula(p);
      if (norm == ScoreNorm::none) {  // z has no effect on the outputs, only on the state returned
        CHECK(worst(book.dz, p.recorded(Form::recurrent, 0)[4]) <= 1e-12);
      }
      check_book(book, p.recorded(Form::recurrent, 0));
      check_book(book, p.recorded(Form::parallel, 0));
      check_book(book, p.recorded(Form::chunkwise, 3));
    }
}

TEST_CASE("Eq. (G10), (G12) and (G13): the parallel and the chunkwise form's backward pass", "[docs][eqG10][eqG12][eqG13]") {
  for (const std::int64_t N : {1, 2, 7})
    for (const ScoreNorm norm : {ScoreNorm::none, ScoreNorm::paper}) {
      CAPTURE(N, static_cast<int>(norm));
      const Problem p(N, norm);
      check_book(chunk_formula(p), p.recorded(Form::parallel, 0));
      check_book(chunk_formula(p), p.recorded(Form::recurrent, 0));
    }
}

TEST_CASE("With epsilon 0 the divisor changes neither outputs nor gradients, detached or not", "[docs][eqR4][eqG13]") {
  const auto normed = [](ScoreNorm norm, bool gradient, double eps) {
    Problem p(7, norm);
    p.options.score_norm_gradient = gradient;
    const Variable y = normalize(retention_parallel(p.q, p.k, p.v, p.state, p.options).o, eps);
    std::vector<Tensor> all = gradients(y, p.dO, {p.q, p.k, p.v, p.state.S, p.state.z});
    all.resize(3);  // without the divisor, z has no gradient
    all.push_back(y.value());
    return all;
  };
  const auto apart = [](const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, error(a[i], b[i]));
    return most;
  };
  const auto none = normed(ScoreNorm::none, true, 0), paper = normed(ScoreNorm::paper, true, 0);
  CHECK(apart(none, paper) <= 1e-10);
  CHECK(apart(paper, normed(ScoreNorm::paper, false, 0)) <= 1e-10);
  // With another epsilon all three differ, so the two checks above are not vacuous.
  CHECK(apart(normed(ScoreNorm::none, true, 0.1), normed(ScoreNorm::paper, true, 0.1)) > 1e-3);
  CHECK(apart(normed(ScoreNorm::paper, true, 0.1), normed(ScoreNorm::paper, false, 0.1)) > 1e-3);
}

}  // namespace
}  // namespace retnet::test
