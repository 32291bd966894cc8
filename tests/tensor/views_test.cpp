// Views: they share memory, copy only where no strides can express them, and chains of them reach the
// elements that index arithmetic says.

#include "tensor/views.h"

#include <random>

#include "tensor/ops.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

/// Numbers 0, 1, 2, .. in row-major order.
Tensor counted(const Shape& shape) { return reshape(Tensor::arange(count(shape), Dtype::f64), shape); }

bool shares(const Tensor& a, const Tensor& b) { return a.storage() == b.storage(); }

TEST_CASE("writing through a view shows in the tensor", "[views]") {
  const Tensor x = counted({2, 3, 4});
  copy_into(select(transpose(x, 0, 2), 0, 1), Tensor::full({3, 2}, -1, Dtype::f64));
  for_each_index({2, 3, 4}, [&](const Index& i) {
    CHECK(x.at(i) == (i[2] == 1 ? -1 : static_cast<double>(12 * i[0] + 4 * i[1] + i[2])));
  });
}

TEST_CASE("views of every kind share memory", "[views]") {
  const Tensor x = counted({2, 3, 4});
  for (const Tensor& view :
       {reshape(x, {6, -1}), transpose(x), permute(x, {2, 0, 1}), slice(x, 1, 1, 3, 2), select(x, -1, 2),
        broadcast_to(x, {5, 2, 3, 4}), unsqueeze(x, 1), squeeze(unsqueeze(x, -1), 3)})
    CHECK(shares(view, x));
}

TEST_CASE("reshape is a view where strides can express it, else a copy", "[views]") {
  const Tensor x = counted({2, 3, 4});
  const auto is_view = [](const Tensor& from, const Shape& shape) {
    const Tensor y = reshape(from, shape);
    CHECK(y.shape() == shape);
    CHECK(y.to_vector<double>() == from.to_vector<double>());
    return shares(y, from);
  };
  CHECK(is_view(x, {24}));
  CHECK(is_view(transpose(x, 0, 1), {3, 2, 2, 2}));        // splits the dense last dimension
  CHECK(is_view(transpose(x, 0, 1), {1, 3, 1, 2, 4, 1}));  // sizes of 1 anywhere
  CHECK(!is_view(transpose(x, 0, 1), {6, 4}));             // joins what is not adjacent
  CHECK(!is_view(transpose(x), {24}));
  CHECK(is_view(slice(x, 2, 0, 4, 2), {12}));  // a common step joins
  CHECK(!is_view(slice(x, 2, 0, 3), {18}));
  CHECK(is_view(slice(x, 0, 1, 2), {12}));
  CHECK(is_view(broadcast_to(counted({1}), {6}), {2, 3}));  // repeats of one element
  CHECK(is_view(broadcast_to(counted({3}), {4, 3}), {2, 2, 3}));
  CHECK(!is_view(broadcast_to(counted({3}), {4, 3}), {12}));
  CHECK(is_view(unsqueeze(transpose(x), 1), {2, 4, 3}));
  CHECK(is_view(counted({1, 1}), {}));
  CHECK(is_view(counted({}), {1, 1, 1}));
  CHECK(is_view(counted({0, 3}), {3, 0, 7}));
}

TEST_CASE("reshape computes the size that is -1", "[views]") {
  CHECK(reshape(counted({2, 6}), {-1}).shape() == Shape{12});
  CHECK(reshape(counted({2, 6}), {3, -1, 2}).shape() == Shape{3, 2, 2});
  CHECK(reshape(counted({0, 6}), {-1, 3}).shape() == Shape{0, 3});
  CHECK(reshape(counted({}), {-1}).shape() == Shape{1});
}

TEST_CASE("slices of nothing, of the end, and with long steps", "[views]") {
  const Tensor x = counted({5});
  CHECK(slice(x, 0, 5, 5).size() == 0);
  CHECK(slice(x, 0, 2, 2, 7).size() == 0);
  CHECK(slice(x, 0, 1, 5, 3).to_vector<double>() == std::vector<double>{1, 4});
  CHECK(slice(x, 0, 4, 5, 1000).to_vector<double>() == std::vector<double>{4});
  CHECK(slice(x, 0, 0, 5, 4).to_vector<double>() == std::vector<double>{0, 4});
}

TEST_CASE("views of no elements may have sizes that no memory holds", "[views]") {
  const std::int64_t huge = std::int64_t{1} << 40;
  const Tensor x = Tensor::zeros({0, huge, huge});
  CHECK(x.size() == 0);
  CHECK(transpose(x).shape() == Shape{0, huge, huge});
  CHECK(sum(x).item() == 0);
}

/// A view together with the rule that says which element of the first tensor each of its elements is.
struct Tracked {
  Tensor view;
  std::function<Index(Index)> origin;
};

/// One random view of a view.
Tracked step(const Tracked& x, std::mt19937& bits) {
  const int rank = x.view.rank();
  const auto pick = [&](std::int64_t below) {
    return static_cast<std::int64_t>(bits() % static_cast<std::uint32_t>(below));
  };
  const auto origin = x.origin;
  const auto axis = rank ? static_cast<std::size_t>(pick(rank)) : 0;
  const int a = static_cast<int>(axis);
  switch (rank ? pick(6) : 4) {
    case 0: {
      const auto other = static_cast<std::size_t>(pick(rank));
      return {transpose(x.view, a, static_cast<int>(other) - rank), [=](Index i) {
                std::swap(i[axis], i[other]);
                return origin(i);
              }};
    }
    case 1: {
      const std::int64_t size = x.view.dim(a), begin = pick(size), end = begin + 1 + pick(size - begin),
                         by = 1 + pick(3);
      return {slice(x.view, a - rank, begin, end, by), [=](Index i) {
                i[axis] = begin + by * i[axis];
                return origin(i);
              }};
    }
    case 2: {
      const std::int64_t at = pick(x.view.dim(a));
      return {select(x.view, a, at), [=](Index i) {
                i.insert(i.begin() + static_cast<std::ptrdiff_t>(axis), at);
                return origin(i);
              }};
    }
    case 3: {
      std::vector<int> order(static_cast<std::size_t>(rank));
      for (std::size_t d = 0; d < order.size(); ++d) order[d] = static_cast<int>((d + axis) % order.size());
      return {permute(x.view, order), [=](const Index& i) {
                Index j = i;
                for (std::size_t d = 0; d < order.size(); ++d) j[static_cast<std::size_t>(order[d])] = i[d];
                return origin(j);
              }};
    }
    case 4: {
      if (rank >= kMaxRank) return x;
      return {unsqueeze(x.view, a), [=](Index i) {
                i.erase(i.begin() + a);
                return origin(i);
              }};
    }
    default: {
      if (rank >= kMaxRank) return x;
      Shape shape = x.view.shape();
      shape.insert(0, 2);
      return {broadcast_to(x.view, shape), [=](Index i) {
                i.erase(i.begin());
                return origin(i);
              }};
    }
  }
}

TEST_CASE("chains of random views reach the elements that index arithmetic says", "[views]") {
  for (unsigned seed = 0; seed < 400; ++seed) {
    std::mt19937 bits(seed);
    const Tensor x = counted({3, 4, 2, 5});
    Tracked chain{x, [](Index i) { return i; }};
    for (int i = 0; i < 6; ++i) chain = step(chain, bits);
    REQUIRE(shares(chain.view, x));
    const Array expected = make_array(chain.view.shape(), [&](const Index& i) {
      const Index j = chain.origin(i);
      return static_cast<double>(((j[0] * 4 + j[1]) * 2 + j[2]) * 5 + j[3]);
    });
    CAPTURE(seed);
    CHECK(chain.view.to_vector<double>() == expected.values);
    // And a reshape of it, view or copy, keeps the row-major order.
    CHECK(reshape(chain.view, {-1}).to_vector<double>() == expected.values);
    CHECK(neg(chain.view).at(Index(static_cast<std::size_t>(chain.view.rank()), 0)) == -expected.values[0]);
  }
}

}  // namespace
}  // namespace retnet::test
