// Dropout: which activations, by which mask, and when none.

#include <algorithm>
#include <cmath>

#include "tests/support/close.h"
#include "tests/support/small_models.h"
#include "tests/support/test.h"
#include "tests/train/reference_run.h"
#include "train/streams.h"

namespace retnet {
namespace {

using test::error;
using Keep = test::ReferenceModel<>::Keep;

/// Logits of the plain loops, one sequence after the other. `keep_of(row)` gives the masks of a sequence.
template <class KeepOf>
test::Array reference_logits(RetNet& model, const Tensor& tokens, const KeepOf& keep_of) {
  const test::ReferenceModel<> reference(model);
  test::Array all{{tokens.dim(0), tokens.dim(1), model.config().vocab}, {}};
  for (std::int64_t row = 0; row < tokens.dim(0); ++row)
    for (const auto& logits :
         reference.logits(contiguous(select(tokens, 0, row)).to_vector<std::int32_t>(), keep_of(row)))
      all.values.insert(all.values.end(), logits.begin(), logits.end());
  return all;
}

TEST_CASE("dropout takes the embedding and the outputs of every retention and feed-forward network",
          "[dropout][reference]") {
  constexpr double p = 0.3;
  const RandomKey key{std::uint64_t{1} << 33, std::uint64_t{5} << 40};
  for (unsigned number = 0; number < 12; ++number) {
    const Config config = test::random_choices(number);
    RetNet model = test::random_model(config, number + 1);
    const Tensor tokens = test::random_ids({3, 7}, 11, number);
    // Layer by layer, a stream each: the embedding, then retention and feed-forward network of every block.
    const auto keep_of = [&](std::int64_t row) -> Keep {
      return [&, row](std::int64_t layer, std::size_t n, std::size_t i) {
        const test::ReferenceStream stream{key.seed, key.stream + static_cast<std::uint64_t>(layer)};
        const std::int64_t element =
            (row * 7 + static_cast<std::int64_t>(n)) * config.d_model + static_cast<std::int64_t>(i);
        return stream.uniform(static_cast<std::uint64_t>(element)) < p ? 0 : 1 / (1 - p);
      };
    };
    const test::Array expected = reference_logits(model, tokens, keep_of);
    for (const Form form : {Form::parallel, Form::recurrent, Form::chunkwise})
      for (const bool recompute : {false, true})
        for (const bool reference : {false, true}) {
          CAPTURE(number, static_cast<int>(form), recompute, reference);
          ForwardOptions options;
          options.form = {form, 0, reference}, options.recompute = recompute;
          options.dropout = {p, key};
          CHECK(test::difference(model.forward(tokens, options).value(), expected, 1e-11) == "");
        }
  }
}

TEST_CASE("without being asked for, nothing is dropped", "[dropout][reference]") {
  const test::TemporaryFolder folder;
  const auto none = [](std::int64_t) { return Keep(); };
  RetNet model = test::random_model(test::small_config(), 2);
  const Tensor tokens = test::random_ids({2, 9}, 11, 3);
  CHECK(test::difference(model.forward(tokens).value(), reference_logits(model, tokens, none), 1e-11) == "");
  // A run that drops nine of ten is evaluated with all of its weights.
  test::write_text(folder / "data", test::minute_text());
  TrainSettings settings = test::minute_settings();
  settings.dropout = 0.9;
  const test::ReferenceRun expected =
      test::reference_run(test::minute_config(), settings, test::minute_text());
  const test::ReferenceRun run = test::library_run(test::minute_config(), settings, folder / "data");
  CHECK(test::log_difference(run.log, expected.log, 1e-12) == "");
}

/// The mask of one layer in a pass of a step: 1 where an element is kept.
std::vector<double> mask(std::int64_t step, std::int64_t pass, std::uint64_t layer, std::int64_t n) {
  const RandomKey key = kernels::later_stream(step_key(Purpose::dropout, 3, step, pass), layer);
  return dropout(Tensor::full({n}, 0.5, Dtype::f64), 0.5, key).to_vector<double>();
}

TEST_CASE("masks of different steps, passes and layers are independent", "[dropout]") {
  constexpr std::int64_t n = 1 << 14;
  std::vector<std::vector<double>> masks;
  for (const std::int64_t step : {1, 2, 3})
    for (const std::int64_t pass : {0, 1, 2})
      for (const std::uint64_t layer : {0, 1, 2, 3, 4}) masks.push_back(mask(step, pass, layer, n));
  double worst = 0;
  for (std::size_t a = 0; a < masks.size(); ++a)
    for (std::size_t b = 0; b < a; ++b) {
      double sum = 0;  // of products of -1 and 1
      for (std::size_t i = 0; i < masks[a].size(); ++i) sum += (2 * masks[a][i] - 1) * (2 * masks[b][i] - 1);
      worst = std::max(worst, std::abs(sum));
    }
  CHECK(worst <= 5.5 * std::sqrt(static_cast<double>(n)));  // of 990 pairs, in standard deviations
}

}  // namespace
}  // namespace retnet
