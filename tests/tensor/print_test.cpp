// What a printed tensor looks like, to the character.

#include <limits>
#include <sstream>

#include "tensor/ops.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

std::string printed(const Tensor& x) {
  std::ostringstream out;
  out << x;
  return out.str();
}

TEST_CASE("small tensors are printed whole, aligned", "[print]") {
  CHECK(printed(Tensor::scalar(2.5)) == "Tensor [] f32\n2.5");
  CHECK(printed(Tensor::arange(3, Dtype::i32)) == "Tensor [3] i32\n[0, 1, 2]");
  CHECK(printed(Tensor::from<double>({1, -2.5, 1e10, 0.1234567}, {2, 2})) ==
        "Tensor [2, 2] f64\n"
        "[[      1,    -2.5],\n"
        " [  1e+10, 0.12346]]");
  CHECK(printed(astype(reshape(Tensor::arange(8), {2, 2, 2}), Dtype::bf16)) ==
        "Tensor [2, 2, 2] bf16\n"
        "[[[0, 1],\n"
        "  [2, 3]],\n"
        " [[4, 5],\n"
        "  [6, 7]]]");
  CHECK(printed(transpose(reshape(Tensor::arange(6), {2, 3}))) ==
        "Tensor [3, 2] f32\n"
        "[[0, 3],\n"
        " [1, 4],\n"
        " [2, 5]]");
}

TEST_CASE("large tensors are abbreviated", "[print]") {
  CHECK(printed(Tensor::arange(1001)) == "Tensor [1001] f32\n[   0,    1,    2, ...,  998,  999, 1000]");
  CHECK(printed(reshape(Tensor::arange(4000, Dtype::i32), {2, 2000})) ==
        "Tensor [2, 2000] i32\n"
        "[[   0,    1,    2, ..., 1997, 1998, 1999],\n"
        " [2000, 2001, 2002, ..., 3997, 3998, 3999]]");
  CHECK(printed(reshape(Tensor::arange(2000, Dtype::i32), {1000, 2})) ==
        "Tensor [1000, 2] i32\n"
        "[[   0,    1],\n"
        " [   2,    3],\n"
        " [   4,    5],\n"
        " ...,\n"
        " [1994, 1995],\n"
        " [1996, 1997],\n"
        " [1998, 1999]]");
  // Six are as short as three, dots and three, so nothing is left out.
  CHECK(printed(reshape(Tensor::arange(1200, Dtype::i32), {200, 6})).find("...,\n") != std::string::npos);
  CHECK(printed(reshape(Tensor::arange(1200, Dtype::i32), {200, 6})).find(", ...,") == std::string::npos);
  CHECK(printed(Tensor::arange(1000)).find("...") == std::string::npos);
}

TEST_CASE("empty, undefined and not-a-number tensors are printed", "[print]") {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(printed(Tensor()) == "Tensor (undefined)");
  CHECK(printed(Tensor::zeros({0})) == "Tensor [0] f32\n[]");
  CHECK(printed(Tensor::zeros({2, 0})) == "Tensor [2, 0] f32\n[[],\n []]");
  CHECK(printed(Tensor::from<double>({infinity, -infinity}, {2})) == "Tensor [2] f64\n[ inf, -inf]");
  CHECK(printed(Tensor::full({1}, std::numeric_limits<double>::quiet_NaN())) == "Tensor [1] f32\n[nan]");
  // A million rows of nothing are abbreviated as well.
  CHECK(printed(Tensor::zeros({1000000, 0})).size() < 100);
}

}  // namespace
}  // namespace retnet::test
