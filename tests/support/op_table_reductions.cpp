// The operation table: sums, means, extremes and the matrix product.

#include "tests/support/op_table.h"

namespace retnet::test {
namespace {

/// The array with `axis` reduced: f of the elements along it.
template <class F>
Array along(const Array& x, int axis, bool keep, F f) {
  Shape shape = x.shape;
  shape[axis] = 1;
  Array y = make_array(shape, [&](Index index) {
    std::vector<double> line;
    for (index[static_cast<std::size_t>(axis)] = 0; index[static_cast<std::size_t>(axis)] < x.shape[axis];
         ++index[static_cast<std::size_t>(axis)])
      line.push_back(element(x, index));
    return f(line);
  });
  if (!keep) y.shape.erase(axis);
  return y;
}

double sum_of(const std::vector<double>& line) {
  double total = 0;
  for (const double value : line) total += value;
  return total;
}
double mean_of(const std::vector<double>& line) { return sum_of(line) / static_cast<double>(line.size()); }
double max_of(const std::vector<double>& line) { return *std::max_element(line.begin(), line.end()); }

std::vector<Case> three_sizes(std::int64_t n) { return {{{n, 2, 3}}, {{2, n, 3}}, {{2, 3, n}}}; }
std::vector<Case> any_rank(std::int64_t n) { return {{{}}, {{n}}, {{2, n, 3}}}; }

template <class F>
Operation reduction(const std::string& name, const std::string& declaration, int axis, bool keep, F f,
                    double (*reference)(const std::vector<double>&)) {
  const int from_front = axis < 0 ? axis + 3 : axis;
  return differentiable(name, declaration, three_sizes, f, [=](const std::vector<Array>& in) {
    return along(in[0], from_front, keep, reference);
  });
}

void add_sums(std::vector<Operation>& table) {
  table.push_back(differentiable(
      "sum", "sum(X)", any_rank, [](const auto& in) { return sum(in[0]); },
      [](const std::vector<Array>& in) {
        return Array{{}, {sum_of(in[0].values)}};
      }));
  table.push_back(differentiable(
      "mean", "mean(X)", any_rank, [](const auto& in) { return mean(in[0]); },
      [](const std::vector<Array>& in) {
        return Array{{}, {mean_of(in[0].values)}};
      }));
  table.back().smallest = 1;
  const std::string sum_axis = "sum(X, int, bool)", mean_axis = "mean(X, int, bool)";
  table.push_back(reduction(
      "sum axis 0", sum_axis, 0, true, [](const auto& in) { return sum(in[0], 0, true); }, sum_of));
  table.push_back(reduction(
      "sum axis 1", sum_axis, 1, false, [](const auto& in) { return sum(in[0], 1); }, sum_of));
  table.push_back(reduction(
      "sum axis -1", sum_axis, -1, false, [](const auto& in) { return sum(in[0], -1); }, sum_of));
  table.push_back(reduction(
      "mean axis 0", mean_axis, 0, false, [](const auto& in) { return mean(in[0], 0); }, mean_of));
  table.back().smallest = 1;
  table.push_back(reduction(
      "mean axis -2", mean_axis, -2, true, [](const auto& in) { return mean(in[0], -2, true); }, mean_of));
  table.back().smallest = 1;
}

void add_extremes(std::vector<Operation>& table) {
  for (const int axis : {0, 1, -1})
    table.push_back(value_only(
        "max axis " + std::to_string(axis), {"max(Tensor, int, bool)"}, three_sizes,
        [axis](const auto& in) { return max(in[0], axis, axis == 1); },
        [axis](const std::vector<Array>& in) {
          return along(in[0], axis < 0 ? 2 : axis, axis == 1, max_of);
        }));
  for (std::size_t i = table.size() - 3; i < table.size(); ++i) table[i].smallest = 1;
  table.push_back(value_only(
      "argmax", {"argmax(Tensor)"}, row_cases, [](const auto& in) { return argmax(in[0]); },
      each_row_to_one([](const std::vector<double>& row) {
        return static_cast<double>(std::max_element(row.begin(), row.end()) - row.begin());
      })));
  table.back().smallest = 1;
  table.push_back(value_only(
      "sum_squares", {"sum_squares(Tensor)"}, any_rank,
      [](const auto& in) { return Tensor::scalar(sum_squares(contiguous(in[0])), Dtype::f64); },
      [](const std::vector<Array>& in) {
        double total = 0;
        for (const double value : in[0].values) total += value * value;
        return Array{{}, {total}};
      }));
  table.push_back(value_only(
      "sum_squares of several", {"sum_squares(vector<Tensor>)"}, same_shape_cases,
      [](const auto& in) {
        return sum_squares({contiguous(in[0]), contiguous(in[1])});
      },
      [](const std::vector<Array>& in) {
        Array y{{2}, {0, 0}};
        for (std::size_t i = 0; i < 2; ++i)
          for (const double value : in[i].values) y.values[i] += value * value;
        return y;
      }));
  table.push_back(value_only(
      "sum_to", {"sum_to(Tensor, Shape)"},
      [](std::int64_t n) {
        return std::vector<Case>{{{2, 3, n, 4}}};
      },
      [](const auto& in) {
        return sum_to(in[0], {in[0].dim(2), 1});
      },
      [](const std::vector<Array>& in) {
        Array y = along(in[0], 3, true, sum_of);
        y = along(y, 1, false, sum_of);
        return along(y, 0, false, sum_of);
      }));
}

Array product(const Array& a, const Array& b, bool ta, bool tb) {
  const int ra = a.shape.rank(), rb = b.shape.rank();
  const std::int64_t m = a.shape[ra - (ta ? 1 : 2)], k = a.shape[ra - (ta ? 2 : 1)],
                     n = b.shape[rb - (tb ? 2 : 1)];
  Shape shape = ra >= rb ? a.shape : b.shape;
  for (const Array* x : {&a, &b})
    for (int d = 3; d <= x->shape.rank(); ++d)
      if (x->shape[x->shape.rank() - d] != 1) shape[shape.rank() - d] = x->shape[x->shape.rank() - d];
  shape[shape.rank() - 2] = m, shape[shape.rank() - 1] = n;
  return make_array(shape, [&](const Index& index) {
    const std::int64_t row = index[index.size() - 2], column = index[index.size() - 1];
    Index at_a = index, at_b = index;
    double total = 0;
    for (std::int64_t p = 0; p < k; ++p) {
      at_a[index.size() - 2] = ta ? p : row, at_a[index.size() - 1] = ta ? row : p;
      at_b[index.size() - 2] = tb ? column : p, at_b[index.size() - 1] = tb ? p : column;
      // Matrices whose own sizes are 1 are indexed at 0 by element(), as they must be.
      total += element(a, at_a) * element(b, at_b);
    }
    return total;
  });
}

/// [.., rows, columns] or its transpose.
Shape matrix(Shape batch, std::int64_t rows, std::int64_t columns, bool transposed) {
  batch.push_back(transposed ? columns : rows);
  batch.push_back(transposed ? rows : columns);
  return batch;
}

void add_products(std::vector<Operation>& table) {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      const auto cases = [ta, tb](std::int64_t n) {
        std::vector<Case> result;
        const auto add = [&](const Shape& batch_a, const Shape& batch_b, std::int64_t m, std::int64_t k,
                             std::int64_t columns) {
          result.push_back({Input(matrix(batch_a, m, k, ta), 0), Input(matrix(batch_b, k, columns, tb), 0)});
        };
        add({}, {}, n, 3, 2);
        add({}, {}, 2, n, 3);
        add({}, {}, 2, 3, n);
        add({3}, {}, n, 2, 4);  // one matrix on the right for a batch on the left
        add({3}, {}, 2, n, 4);
        add({2}, {}, 3, 2, n);
        add({}, {3}, 2, n, 3);
        add({n}, {n}, 2, 3, 2);
        add({2, 1}, {3}, 2, n, 3);  // both repeated
        return result;
      };
      table.push_back(differentiable(
          std::string("matmul") + (ta ? " transpose_a" : "") + (tb ? " transpose_b" : ""),
          "matmul(X, X, bool, bool)", cases,
          [ta, tb](const auto& in) { return matmul(in[0], in[1], ta, tb); },
          [ta, tb](const std::vector<Array>& in) { return product(in[0], in[1], ta, tb); }));
      table.back().large = 4001;
    }
}

}  // namespace

void add_reductions(std::vector<Operation>& table) {
  add_sums(table);
  add_extremes(table);
  add_products(table);
}

}  // namespace retnet::test
