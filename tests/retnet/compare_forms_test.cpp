// The comparison behind `retnet forms`: it is small where the forms agree, and shows it when they do not.
#include "retnet/compare_forms.h"

#include <cmath>
#include <set>

#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using namespace retnet;
using namespace retnet::test;

namespace {

Config small_config() {
  Config config;
  config.vocab = 13, config.d_model = 12, config.layers = 2, config.heads = 2;
  config.key_width = 8, config.value_width = 12, config.ffn_width = 10;
  return config;
}

CompareOptions small_options() {
  CompareOptions options;
  options.length = 33, options.chunk = 7, options.handoffs = 4;
  return options;
}

}  // namespace

TEST_CASE("Random pieces cover a sequence and use every form", "[forms]") {
  for (const std::int64_t n : {1, 2, 7, 33, 200}) {
    std::set<Form> forms;
    for (std::uint64_t stream = 0; stream < 20; ++stream) {
      std::int64_t total = 0;
      for (const Piece& piece : random_pieces(n, {1, stream})) {
        CHECK(piece.length >= 1);
        total += piece.length;
        forms.insert(piece.form);
      }
      CHECK(total == n);
    }
    CHECK(forms.size() == 3);
  }
}

TEST_CASE("Forms and random hand-offs agree on random numbers", "[forms][eq5][eq6][eq7]") {
  for (const Dtype dtype : {Dtype::f64, Dtype::f32})
    for (const ScoreNorm norm : {ScoreNorm::none, ScoreNorm::paper})
      for (const Rotation rotation : {Rotation::linspace, Rotation::none}) {
        Config config = small_config();
        config.score_norm = norm, config.rotation = rotation;
        const std::vector<FormDifference> list = compare_retention(config, dtype, small_options());
        REQUIRE(list.size() == 4);
        for (const FormDifference& difference : list) {
          CAPTURE(difference.name, difference.outputs, difference.state, difference.gradients, name(dtype));
          CHECK(difference.worst() <= form_bound(dtype));
          CHECK(difference.worst() > 0);  // nothing was computed twice in the same way
        }
      }
}

TEST_CASE("Forms and random hand-offs agree for a whole model", "[forms][eq5][eq6][eq7]") {
  RetNet model(small_config(), 2, Dtype::f32);
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    RetNet copy = converted(model, dtype);
    for (const FormDifference& difference : compare_model(copy, small_options())) {
      CAPTURE(difference.name, difference.outputs, difference.state, difference.gradients, name(dtype));
      CHECK(difference.worst() <= form_bound(dtype));
    }
  }
}

TEST_CASE("The comparison notices weights that are not finite", "[forms]") {
  RetNet model(small_config(), 2, Dtype::f64);
  Variable weight = model.parameters()[3].variable;
  weight.set_value(Tensor::full(weight.shape(), std::nan(""), Dtype::f64));
  for (const FormDifference& difference : compare_model(model, small_options()))
    CHECK_FALSE(difference.worst() <= form_bound(Dtype::f64));
}

TEST_CASE("A length, chunk or batch of 0 is refused by name", "[forms]") {
  CompareOptions options;
  options.chunk = 0;
  CHECK(error_message([&] { compare_retention(small_config(), Dtype::f64, options); }) ==
        "chunk: must be in 1 .. 1048576, got 0");
  options.chunk = 3, options.length = -1;
  CHECK(error_message([&] { compare_retention(small_config(), Dtype::f64, options); }) ==
        "length: must be in 1 .. 1048576, got -1");
}
