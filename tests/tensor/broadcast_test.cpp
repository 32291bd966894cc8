// Broadcasting against nested loops, over random shapes of every rank and layout.

#include <random>

#include "tensor/ops.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

struct Pair {
  Shape a, b, result;
};

/// Two shapes that broadcast, and what to: ranks 0 to 8, sizes 0 to 3, at most `most` elements.
Pair random_pair(std::mt19937& bits, std::int64_t most) {
  const auto pick = [&](unsigned below) { return static_cast<int>(bits() % below); };
  for (;;) {
    const int rank = pick(9);
    Shape result;
    for (int d = 0; d < rank; ++d) result.push_back(pick(12) == 0 ? 0 : 1 + pick(3));
    if (elements(result) > most) continue;
    const auto operand = [&](int skip) {
      Shape shape;
      for (int d = skip; d < rank; ++d) shape.push_back(pick(3) == 0 ? 1 : result[d]);
      return shape;
    };
    Pair pair{operand(pick(2) ? pick(static_cast<unsigned>(rank) + 1) : 0), operand(0), {}};
    if (pick(2)) std::swap(pair.a, pair.b);
    // Where both sides happen to have size 1, so has the result.
    pair.result = Shape(std::vector<std::int64_t>(static_cast<std::size_t>(rank), 1));
    for (const Shape* side : {&pair.a, &pair.b})
      for (int d = 1; d <= side->rank(); ++d) {
        const std::int64_t size = (*side)[side->rank() - d];
        if (size != 1) pair.result[rank - d] = size;
      }
    return pair;
  }
}

TEST_CASE("operations on random pairs of shapes equal nested loops", "[broadcast]") {
  set_poison(true);
  std::mt19937 bits(1);
  for (unsigned round = 0; round < 600; ++round) {
    const Pair shapes = random_pair(bits, 2000);
    const Tensor a = random(shapes.a, 2 * round, kLayouts[bits() % 5]),
                 b = random(shapes.b, 2 * round + 1, kLayouts[bits() % 5]);
    const Array x = array_of(a), y = array_of(b);
    INFO(shapes.a << " and " << shapes.b);
    CHECK(broadcast_shapes("test", shapes.a, shapes.b) == shapes.result);
    const auto oracle = [&](double (*f)(double, double)) {
      return make_array(shapes.result, [&](const Index& i) { return f(element(x, i), element(y, i)); });
    };
    CHECK(difference(sub(a, b), oracle([](double p, double q) { return p - q; }), 0) == "");
    CHECK(difference(greater_equal(a, b), oracle([](double p, double q) { return p >= q ? 1.0 : 0.0; }), 0) ==
          "");
    CHECK(difference(broadcast_to(a, shapes.result), oracle([](double p, double) { return p; }), 0) == "");
  }
}

TEST_CASE("sum_to sums what broadcasting repeated", "[broadcast]") {
  set_poison(true);
  std::mt19937 bits(2);
  for (unsigned round = 0; round < 300; ++round) {
    const Pair shapes = random_pair(bits, 2000);
    const Tensor dy = random(shapes.result, round, kLayouts[bits() % 5]);
    Array expected{shapes.a, std::vector<double>(static_cast<std::size_t>(elements(shapes.a)), 0)};
    // Each element of a is found by its own number; those of dy that read it add up there.
    Array number = expected;
    for (std::size_t i = 0; i < number.values.size(); ++i) number.values[i] = static_cast<double>(i);
    const Array given = array_of(dy);
    for_each_index(shapes.result, [&](const Index& i) {
      expected.values[static_cast<std::size_t>(element(number, i))] += element(given, i);
    });
    INFO(shapes.result << " to " << shapes.a);
    CHECK(difference(sum_to(dy, shapes.a), expected, 1e-13) == "");
  }
}

TEST_CASE("shapes that do not broadcast are refused", "[broadcast]") {
  const auto refused = [](const Shape& a, const Shape& b) {
    return error_message([&] { broadcast_shapes("op", a, b); }).find("op: shapes do not broadcast, got ") ==
               0 &&
           error_message([&] { broadcast_shapes("op", b, a); }).find("op: shapes do not broadcast, got ") ==
               0;
  };
  CHECK(refused({2}, {3}));
  CHECK(refused({2, 3}, {2}));
  CHECK(refused({0}, {2}));
  CHECK(refused({4, 1, 3}, {2, 2, 3}));
  CHECK(!refused({0}, {1}));
  CHECK(!refused({}, {2, 3}));
}

TEST_CASE("an operation may read one tensor twice", "[broadcast]") {
  const Tensor x = random({4, 4}, 1);
  CHECK(difference(add(x, transpose(x)), add(transpose(x), x), 0) == "");
  const Tensor y = clone(x);
  add_into(y, y);
  CHECK(difference(y, mul(x, 2), 0) == "");
}

}  // namespace
}  // namespace retnet::test
