// The full text of what a person reads after a common mistake.

#include <functional>

#include "tensor/ops.h"
#include "tests/support/random.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

Tensor zeros(const Shape& shape, Dtype dtype = Dtype::f32) { return Tensor::zeros(shape, dtype); }

struct Mistake {
  std::function<void()> make;
  const char* message;
};

void check_messages(const std::vector<Mistake>& mistakes) {
  for (const Mistake& mistake : mistakes) CHECK(error_message(mistake.make) == mistake.message);
}

TEST_CASE("mistakes in making and reading tensors", "[tensor][errors]") {
  check_messages({
      {[] {
         zeros({2, -1});
       },
       "shape: sizes must not be negative, got [2, -1]"},
      {[] {
         zeros({1, 1, 1, 1, 1, 1, 1, 1, 1});
       },
       "shape: at most 8 dimensions are possible, got 9"},
      {[] {
         zeros({1ll << 40, 1ll << 40});
       },
       "shape: the number of elements of [1099511627776, 1099511627776] does not fit 64 bits"},
      {[] { zeros({1ll << 60}); },
       "empty: a tensor of shape [1152921504606846976] is too large for any memory"},
      {[] {
         Tensor::from<float>({1, 2}, {3});
       },
       "from: shape [3] needs 3 values, got 2"},
      {[] { Tensor::arange(-1); }, "arange: the number of elements must not be negative, got -1"},
      {[] { zeros({2}).item(); }, "item: needs exactly one element, got shape [2]"},
      {[] { Tensor().item(); }, "item: needs exactly one element, got shape []"},
      {[] {
         zeros({2, 3}).at({1});
       },
       "at: needs 2 indices for [2, 3], got 1"},
      {[] {
         zeros({2, 3}).at({1, 3});
       },
       "at: index 3 is out of range in dimension 1 of [2, 3]"},
      {[] {
         zeros({2, 3}).at({-1, 0});
       },
       "at: index -1 is out of range in dimension 0 of [2, 3]"},
      {[] {
         zeros({2, 3}).dim(2);
       },
       "dim: axis 2 is out of range for 2 dimensions"},
      {[] { zeros({2}).data<double>(); }, "data: asked for f64 but the tensor is f32"},
      {[] { Tensor().data<float>(); }, "data: the tensor is undefined"},
      {[] { Tensor().to_vector<float>(); }, "to: the tensor is undefined"},
  });
}

TEST_CASE("mistakes in views", "[tensor][errors]") {
  check_messages({
      {[] {
         reshape(zeros({2, 3}), {4});
       },
       "reshape: cannot turn [2, 3] (6 elements) into [4]"},
      {[] {
         reshape(zeros({2, 3}), {4, -1});
       },
       "reshape: cannot turn [2, 3] (6 elements) into [4, -1]"},
      {[] {
         reshape(zeros({2, 3}), {-1, -1});
       },
       "reshape: only one size may be -1, got [-1, -1]"},
      {[] {
         reshape(zeros({0, 3}), {-1, 0});
       },
       "reshape: cannot turn [0, 3] (0 elements) into [-1, 0]"},
      {[] { transpose(zeros({3})); }, "transpose: axis -2 is out of range for 1 dimensions"},
      {[] {
         permute(zeros({2, 3}), {0});
       },
       "permute: needs 2 axes for [2, 3], got 1"},
      {[] {
         permute(zeros({2, 3}), {0, -2});
       },
       "permute: axis 0 is given twice"},
      {[] {
         slice(zeros({2, 3}), 1, 2, 4);
       },
       "slice: needs 0 <= begin <= end <= 3 and step >= 1 in dimension 1 of [2, 3], got begin 2, end 4, step "
       "1"},
      {[] { slice(zeros({3}), 0, 0, 3, 0); },
       "slice: needs 0 <= begin <= end <= 3 and step >= 1 in dimension 0 of [3], got begin 0, end 3, step 0"},
      {[] {
         select(zeros({2, 3}), -1, 3);
       },
       "select: index 3 is out of range in dimension 1 of [2, 3]"},
      {[] {
         broadcast_to(zeros({2, 3}), {2, 4});
       },
       "broadcast_to: cannot broadcast [2, 3] to [2, 4]"},
      {[] {
         broadcast_to(zeros({2, 3}), {3});
       },
       "broadcast_to: cannot broadcast [2, 3] to [3]"},
      {[] { unsqueeze(zeros({2}), 2 + 1); }, "unsqueeze: axis 3 is out of range for 2 dimensions"},
      {[] {
         squeeze(zeros({2, 3}), 0);
       },
       "squeeze: dimension 0 of [2, 3] is not 1"},
      {[] {
         unsqueeze(zeros({1, 1, 1, 1, 1, 1, 1, 1}), 0);
       },
       "shape: at most 8 dimensions are possible, got one more"},
  });
}

TEST_CASE("mistakes in operands", "[tensor][errors]") {
  check_messages({
      {[] { add(zeros({2}), zeros({2}, Dtype::f64)); },
       "add: dtypes differ, got f32 and f64; convert one with astype()"},
      {[] {
         mul(zeros({2, 3}), zeros({2}));
       },
       "mul: shapes do not broadcast, got [2, 3] and [2]; aligned at the last dimension, sizes must be equal "
       "or 1"},
      {[] { exp(zeros({2}, Dtype::i32)); }, "exp: needs f32, f64 or bf16, got i32; convert with astype()"},
      {[] { exp(Tensor()); }, "exp: the operand is undefined"},
      {[] { add(Tensor(), zeros({2})); }, "add: an operand is undefined"},
      {[] { add_into(zeros({2}), zeros({1})); },
       "add_into: needs a contiguous target and equal shapes and dtypes, got [2] f32 and [1] f32"},
      {[] { copy_into(zeros({2}), zeros({3})); }, "copy_into: shapes differ, got [2] and [3]"},
      {[] {
         fill(transpose(zeros({2, 3})), 0);
       },
       "fill: needs a contiguous tensor; use copy_into() for a strided one"},
      {[] { concat({}, 0); }, "concat: needs at least one tensor"},
      {[] {
         concat({zeros({2, 3}), zeros({3, 3})}, 1);
       },
       "concat: shapes differ outside dimension 1, got [2, 3] and [3, 3]"},
      {[] {
         concat({zeros({2}), zeros({2}, Dtype::f64)}, 0);
       },
       "concat: dtypes differ, got f32 and f64; convert one with astype()"},
      {[] { dropout(zeros({2}), 1, {}); }, "dropout: the probability must be in [0, 1), got 1"},
      {[] { rand_normal({2}, {}, 0, 1, Dtype::bf16); }, "rand_normal: needs f32 or f64, got bf16"},
  });
}

TEST_CASE("mistakes in reductions and products", "[tensor][errors]") {
  check_messages({
      {[] {
         sum(zeros({2, 3}), 2);
       },
       "sum: axis 2 is out of range for 2 dimensions"},
      {[] { mean(zeros({0})); }, "mean: a tensor of shape [0] has no elements"},
      {[] {
         max(zeros({2, 0}), 1);
       },
       "max: dimension 1 of [2, 0] has no elements"},
      {[] {
         argmax(zeros({2, 0}));
       },
       "argmax: the last dimension of [2, 0] has no elements"},
      {[] {
         sum_to(zeros({2, 3}), {2, 2});
       },
       "sum_to: shapes do not broadcast, got [2, 2] and [2, 3]; aligned at the last dimension, sizes must be "
       "equal "
       "or 1"},
      {[] {
         sum_to(zeros({1, 3}), {2, 3});
       },
       "sum_to: cannot sum [1, 3] to [2, 3]"},
      {[] {
         matmul(zeros({2, 3, 4}), zeros({2, 5, 6}));
       },
       "matmul: inner dimensions differ, 4 from [2, 3, 4] against 5 from [2, 5, 6]"},
      {[] {
         matmul(zeros({3, 4}), zeros({3, 5}), true, true);
       },
       "matmul: inner dimensions differ, 3 from [3, 4] transposed against 5 from [3, 5] transposed"},
      {[] {
         matmul(zeros({3}), zeros({3, 4}));
       },
       "matmul: needs at least two dimensions, got [3] and [3, 4]"},
      {[] {
         matmul(zeros({3, 4}), zeros({4, 5}, Dtype::f64));
       },
       "matmul: dtypes differ, got f32 and f64; convert one with astype()"},
      {[] {
         matmul(zeros({2, 3, 4}), zeros({3, 4, 5}));
       },
       "matmul: shapes do not broadcast, got [2] and [3]; aligned at the last dimension, sizes must be equal "
       "or 1"},
      {[] {
         matmul(Tensor(), zeros({4, 5}));
       },
       "matmul: an operand is undefined"},
  });
}

TEST_CASE("mistakes in rows and indices", "[tensor][errors]") {
  const Tensor ids = Tensor::from<std::int32_t>({0, 5}, {2}), floats = zeros({2});
  check_messages({
      {[] {
         softmax(zeros({2, 0}));
       },
       "softmax: needs rows of at least one element, got shape [2, 0]"},
      {[] { normalize(zeros({}), 1e-5); }, "normalize: needs rows of at least one element, got shape []"},
      {[] {
         softmax_grad(zeros({2, 3}), zeros({3, 2}));
       },
       "softmax_grad: operands differ, got [2, 3] f32 and [3, 2] f32"},
      {[&] {
         cross_entropy(zeros({2, 5}), ids);
       },
       "cross_entropy: targets must be in 0 .. 4, got 5"},
      {[&] {
         cross_entropy(zeros({2, 5}), neg(floats));
       },
       "cross_entropy: targets must be i32, got f32"},
      {[&] {
         cross_entropy(zeros({3, 5}), ids);
       },
       "cross_entropy: logits [3, 5] need targets [3], got [2]"},
      {[&] {
         embedding(zeros({5, 3}), ids);
       },
       "embedding: ids must be in 0 .. 4, got 5"},
      {[&] {
         embedding(zeros({5, 3}), floats);
       },
       "embedding: ids must be i32, got f32; convert them with astype()"},
      {[&] { embedding(zeros({5}), ids); }, "embedding: needs a table [V, d], got [5]"},
      {[&] {
         embedding_grad(zeros({3, 4}), ids, 6);
       },
       "embedding_grad: dy [.., d] needs ids [..], got [3, 4] and [2]"},
      {[&] {
         gather(zeros({3, 5}), ids);
       },
       "gather: x [.., n] needs ids [..], got [3, 5] and [2]"},
      {[&] { gather_grad(zeros({3}), ids, 6); }, "gather_grad: dy and ids need one shape, got [3] and [2]"},
      {[] {
         rotate(zeros({1, 2, 3, 5}), zeros({2, 2}), zeros({2, 2}));
       },
       "rotate: needs [B, T, H, dk] with an even dk, got [1, 2, 3, 5]"},
      {[] {
         rotate(zeros({1, 2, 3, 4}), zeros({3, 2}), zeros({2, 2}));
       },
       "rotate: [1, 2, 3, 4] needs tables of shape [2, 2], got [3, 2] and [2, 2]"},
      {[] {
         rotate(zeros({1, 2, 3, 4}), zeros({2, 2}, Dtype::f64), zeros({2, 2}));
       },
       "rotate: f32 needs tables in f32, got f64"},
  });
}

}  // namespace
}  // namespace retnet::test
