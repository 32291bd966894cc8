#include "retnet/compare_forms.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "autograd/functions.h"
#include "retnet/rotation.h"
#include "tensor/storage.h"

namespace retnet {
namespace {

// Streams of random numbers for what is compared; the cuts take those from kCuts on.
enum Stream : std::uint64_t {
  kQueries,
  kKeys,
  kValues,
  kState,
  kKeySums,
  kCotangents,
  kTokens = 16,
  kTargets,
  kCuts
};

// What one way to run a sequence gave.
struct Outcome {
  Tensor outputs;
  std::vector<Tensor> state, gradients;
};

// The larger one; a NaN wins, so that it cannot hide.
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

// max |a - b| / max |b|
double relative_difference(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined() || !(a.shape() == b.shape()))
    return std::numeric_limits<double>::infinity();
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double scale = 0, apart = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    scale = larger(std::abs(y[i]), scale);
    apart = larger(std::abs(x[i] - y[i]), apart);
  }
  return apart == 0 ? 0 : apart / scale;
}

double relative_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = larger(relative_difference(a[i], b[i]), worst);
  return worst;
}

FormDifference difference(const std::string& name, const Outcome& a, const Outcome& b) {
  return {name, relative_difference(a.outputs, b.outputs), relative_difference(a.state, b.state),
          relative_difference(a.gradients, b.gradients)};
}

// Runs the sequence whole in each form and cut at random, and compares everything with the parallel form.
std::vector<FormDifference> compare(const std::function<Outcome(const std::vector<Piece>&)>& run,
                                    const CompareOptions& options) {
  std::int64_t way = 0;
  const auto next = [&] {
    Outcome outcome = run(compared_pieces(options, way++));
    release_cached_memory(outcome.outputs.device());  // blocks of sizes that the next way has no use for
    return outcome;
  };
  const Outcome reference = next();
  std::vector<FormDifference> list;
  for (const char* name : {"recurrent", "chunkwise", "composed"})
    list.push_back(difference(name, next(), reference));
  FormDifference worst{"hand-offs"};
  for (std::int64_t i = 0; i < options.handoffs; ++i) {
    const FormDifference one = difference("", next(), reference);
    worst.outputs = larger(one.outputs, worst.outputs);
    worst.state = larger(one.state, worst.state);
    worst.gradients = larger(one.gradients, worst.gradients);
  }
  if (options.handoffs > 0) list.push_back(worst);
  return list;
}

// S, z, s and pos as tensors.
void append_state(std::vector<Tensor>& list, const RetentionState& state) {
  list.push_back(state.S.value());
  list.push_back(state.z.value());
  list.push_back(Tensor::from(state.s, {static_cast<std::int64_t>(state.s.size())}));
  list.push_back(Tensor::scalar(static_cast<double>(state.pos), Dtype::f64));
}

// Random inputs of retention, and what runs them.
struct RetentionCase {
  RetentionOptions options;
  std::vector<double> theta;
  Variable q, k, v;      // [B, N, H, .], not yet rotated
  RetentionState start;  // as if 37 steps had come before
  Tensor do_, dS, dz;    // cotangents of the outputs and of the final state
  std::int64_t chunk = 0;

  RetentionCase(const Config& config, Dtype dtype, const CompareOptions& compare);
  Outcome run(const std::vector<Piece>& pieces) const;
};

RetentionCase::RetentionCase(const Config& config, Dtype dtype, const CompareOptions& compare)
    : options{decays(config), config.score_norm, config.score_norm_gradient},
      theta(rotation_angles(config.rotation, config.dk())),
      chunk(compare.chunk) {
  const std::int64_t B = compare.batch, N = compare.length, H = config.heads, dk = config.dk(),
                     dv = config.dv();
  const auto random = [&](const Shape& shape, std::uint64_t stream, double deviation = 1) {
    // Drawn in f64 and rounded, so that both dtypes see the same numbers.
    return astype(rand_normal(shape, {compare.seed, stream}, 0, deviation, Dtype::f64), dtype)
        .to(compare.device);
  };
  q = Variable(random({B, N, H, dk}, kQueries), true);
  k = Variable(random({B, N, H, dk}, kKeys, 1 / std::sqrt(static_cast<double>(dk))), true);
  v = Variable(random({B, N, H, dv}, kValues), true);
  start.S = Variable(random({B, H, dk, dv}, kState), true);
  start.z = Variable(random({B, H, dk}, kKeySums), true);
  start.pos = 37;
  const std::vector<double> nothing(options.gamma.size(), 0.0);
  for (const std::vector<double>& sums : decay_sums(options.gamma, nothing, start.pos))
    start.s.push_back(sums.back());
  do_ = random({B, H, N, dv}, kCotangents), dS = random({B, H, dk, dv}, kCotangents + 1);
  dz = random({B, H, dk}, kCotangents + 2);
}

Outcome RetentionCase::run(const std::vector<Piece>& pieces) const {
  RetentionState state = start;
  RetentionOptions how = options;
  std::vector<Variable> outputs;
  std::int64_t begin = 0;
  for (const Piece& piece : pieces) {
    const auto cut = [&](const Variable& x) { return slice(x, 1, begin, begin + piece.length); };
    const auto rotated = [&](const Variable& x) {
      return transpose(rotate_positions(x, theta, state.pos), 1, 2);
    };
    how.reference = piece.reference;
    const Retained retained =
        retention(piece.form, rotated(cut(q)), rotated(cut(k)), transpose(cut(v), 1, 2), state, how, chunk);
    outputs.push_back(retained.o);
    state = retained.state;
    begin += piece.length;
  }
  const Variable o = concat(outputs, 2);
  // L = <o, do> + <S, dS> + <z, dz> has the cotangents as its gradients.
  const Variable loss =
      add(add(sum(mul(o, Variable(do_))), sum(mul(state.S, Variable(dS)))), sum(mul(state.z, Variable(dz))));
  std::vector<Variable> inputs{q, k, v, start.S};
  // z is read by the score norm only, and no gradient reaches it through a divisor that is held constant.
  inputs.push_back(start.z);
  Outcome outcome{o.value(), {}, gradients(loss, Tensor::scalar(1, loss.dtype(), loss.device()), inputs)};
  append_state(outcome.state, state);
  return outcome;
}

Outcome run_model(RetNet& model, const Tensor& tokens, const Tensor& targets,
                  const std::vector<Piece>& pieces, std::int64_t chunk) {
  ModelState state = model.initial_state(tokens.dim(0));
  std::vector<Variable> outputs;
  std::int64_t begin = 0;
  for (const Piece& piece : pieces) {
    ForwardOptions options;
    options.form = {piece.form, chunk, piece.reference};
    outputs.push_back(model.forward(slice(tokens, 1, begin, begin + piece.length), state, options));
    begin += piece.length;
  }
  const Variable logits = concat(outputs, 1);
  const Variable loss = mean(cross_entropy(logits, targets));
  std::vector<Variable> parameters;
  for (const Parameter& parameter : model.parameters()) parameters.push_back(parameter.variable);
  Outcome outcome{
      logits.value(), {}, gradients(loss, Tensor::scalar(1, loss.dtype(), loss.device()), parameters)};
  for (const RetentionState& layer : state.layers) append_state(outcome.state, layer);
  return outcome;
}

Tensor random_tokens(const Shape& shape, std::int64_t vocab, RandomKey key) {
  std::vector<std::int32_t> tokens;
  std::int64_t count = 1;
  for (int d = 0; d < shape.rank(); ++d) count *= shape[d];
  for (std::int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<std::int32_t>(kernels::random_bits(key, static_cast<std::uint64_t>(i)) %
                                               static_cast<std::uint64_t>(vocab)));
  return Tensor::from(tokens, shape);
}

}  // namespace

std::vector<Piece> random_pieces(std::int64_t n, RandomKey key) {
  std::vector<Piece> pieces;
  const std::int64_t longest = std::max<std::int64_t>(1, n / 2);
  for (std::uint64_t i = 0; n > 0; i += 2) {
    const std::int64_t wanted = 1 + kernels::random_bits(key, i) % longest, length = std::min(n, wanted);
    const std::uint32_t how = kernels::random_bits(key, i + 1);
    pieces.push_back({static_cast<Form>(how % 3), length, how / 3 % 2 == 1});
    n -= length;
  }
  return pieces;
}

std::vector<Piece> compared_pieces(const CompareOptions& options, std::int64_t way) {
  const Piece whole[] = {{Form::parallel, options.length},
                         {Form::recurrent, options.length},
                         {Form::chunkwise, options.length},
                         {Form::chunkwise, options.length, true}};
  if (way < 4) return {whole[way]};
  return random_pieces(options.length, {options.seed, kCuts + static_cast<std::uint64_t>(way - 4)});
}

void CompareOptions::validate() const {
  const auto check = [](const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
    require(value >= least && value <= most, name, "must be in ", least, " .. ", most, ", got ", value);
  };
  check("batch", batch, 1, 1 << 20);
  check("length", length, 1, 1 << 20);
  check("chunk", chunk, 1, 1 << 20);
  check("handoffs", handoffs, 0, 1 << 20);
}

double FormDifference::worst() const { return larger(outputs, larger(state, gradients)); }

std::vector<FormDifference> compare_retention(const Config& config, Dtype dtype,
                                              const CompareOptions& options) {
  config.validate();
  options.validate();
  const RetentionCase random(config, dtype, options);
  return compare([&](const std::vector<Piece>& pieces) { return random.run(pieces); }, options);
}

std::vector<FormDifference> compare_model(RetNet& model, const CompareOptions& options) {
  options.validate();
  const Shape shape{options.batch, options.length};
  const Tensor tokens = random_tokens(shape, model.config().vocab, {options.seed, kTokens});
  const Tensor targets = random_tokens(shape, model.config().vocab, {options.seed, kTargets});
  return compare(
      [&](const std::vector<Piece>& pieces) {
        return run_model(model, tokens, targets, pieces, options.chunk);
      },
      options);
}

RetNet converted(RetNet& model, Dtype dtype) {
  RetNet copy(model.config(), 1, dtype);
  const std::vector<Parameter> from = model.parameters(), to = copy.parameters();
  for (std::size_t i = 0; i < to.size(); ++i) {
    Variable target = to[i].variable;
    target.set_value(clone(astype(from[i].variable.value(), dtype)));
  }
  return copy;
}

double form_bound(Dtype dtype) { return dtype == Dtype::f64 ? 1e-12 : 1e-4; }

}  // namespace retnet
