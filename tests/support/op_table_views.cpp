// The operation table: views, joining and splitting. Views move numbers and change none, so every reference
// is a formula for where an element came from.

#include "tests/support/op_table.h"

namespace retnet::test {
namespace {

/// The array of a shape whose element at `index` is x's at `source(index)`.
template <class Source>
Array moved(const Array& x, const Shape& shape, Source source) {
  return make_array(shape, [&](const Index& index) { return element(x, source(index)); });
}

void add_reshapes(std::vector<Operation>& table) {
  table.push_back(differentiable(
      "reshape", "reshape(X, Shape)",
      [](std::int64_t n) {
        return std::vector<Case>{{{2, n, 3}}};
      },
      [](const auto& in) {
        return reshape(in[0], {3, -1, 2});
      },
      [](const std::vector<Array>& in) {
        return Array{{3, elements(in[0].shape) / 6, 2}, in[0].values};
      }));
  table.push_back(differentiable(
      "unsqueeze", "unsqueeze(X, int)",
      [](std::int64_t n) {
        return std::vector<Case>{{{2, n}}};
      },
      [](const auto& in) { return unsqueeze(unsqueeze(in[0], 1), -1); },
      [](const std::vector<Array>& in) {
        return Array{{in[0].shape[0], 1, in[0].shape[1], 1}, in[0].values};
      }));
  table.push_back(differentiable(
      "squeeze", "squeeze(X, int)",
      [](std::int64_t n) {
        return std::vector<Case>{{{1, n, 1, 2}}};
      },
      [](const auto& in) { return squeeze(squeeze(in[0], -2), 0); },
      [](const std::vector<Array>& in) {
        return Array{{in[0].shape[1], in[0].shape[3]}, in[0].values};
      }));
}

void add_reorderings(std::vector<Operation>& table) {
  const auto three = [](std::int64_t n) { return std::vector<Case>{{{2, n, 3}}}; };
  table.push_back(differentiable(
      "transpose the last two", "transpose(X, int, int)", three,
      [](const auto& in) { return transpose(in[0]); },
      [](const std::vector<Array>& in) {
        const Shape& s = in[0].shape;
        return moved(in[0], {s[0], s[2], s[1]}, [](const Index& i) { return Index{i[0], i[2], i[1]}; });
      }));
  table.push_back(differentiable(
      "transpose the first and last", "transpose(X, int, int)", three,
      [](const auto& in) { return transpose(in[0], 0, -1); },
      [](const std::vector<Array>& in) {
        const Shape& s = in[0].shape;
        return moved(in[0], {s[2], s[1], s[0]}, [](const Index& i) { return Index{i[2], i[1], i[0]}; });
      }));
  // A cyclic order, because one that is its own inverse would not notice a rule that forgets to invert it.
  table.push_back(differentiable(
      "permute", "permute(X, vector<int>)", three,
      [](const auto& in) {
        return permute(in[0], {1, -1, 0});
      },
      [](const std::vector<Array>& in) {
        const Shape& s = in[0].shape;
        return moved(in[0], {s[1], s[2], s[0]}, [](const Index& i) { return Index{i[2], i[0], i[1]}; });
      }));
  table.push_back(differentiable(
      "broadcast_to", "broadcast_to(X, Shape)",
      [](std::int64_t n) {
        return std::vector<Case>{{{n, 1}}};
      },
      [](const auto& in) {
        return broadcast_to(in[0], {2, in[0].dim(0), 3});
      },
      [](const std::vector<Array>& in) {
        return moved(in[0], {2, in[0].shape[0], 3}, [](const Index& i) { return Index{i[1], 0}; });
      }));
}

void add_parts(std::vector<Operation>& table) {
  table.push_back(differentiable(
      "slice", "slice(X, int, int64_t, int64_t, int64_t)",
      [](std::int64_t n) {
        return std::vector<Case>{{{4, n + 3}}};
      },
      [](const auto& in) { return slice(slice(in[0], 0, 1, 4, 2), -1, 2, in[0].dim(1)); },
      [](const std::vector<Array>& in) {
        return moved(in[0], {2, in[0].shape[1] - 2}, [](const Index& i) {
          return Index{1 + 2 * i[0], i[1] + 2};
        });
      }));
  table.push_back(differentiable(
      "select", "select(X, int, int64_t)",
      [](std::int64_t n) {
        return std::vector<Case>{{{2, 3, n}}};
      },
      [](const auto& in) { return select(in[0], -2, 2); },
      [](const std::vector<Array>& in) {
        return moved(in[0], {in[0].shape[0], in[0].shape[2]}, [](const Index& i) {
          return Index{i[0], 2, i[1]};
        });
      }));
}

Array joined(const std::vector<Array>& in) {
  // Along the middle of three dimensions.
  Shape shape = in[0].shape;
  for (std::size_t k = 1; k < in.size(); ++k) shape[1] += in[k].shape[1];
  return make_array(shape, [&](Index index) {
    std::size_t part = 0;
    while (index[1] >= in[part].shape[1]) index[1] -= in[part++].shape[1];
    return element(in[part], index);
  });
}

void add_joins(std::vector<Operation>& table) {
  Operation concat_op = differentiable(
      "concat", "concat(vector<X>, int)",
      [](std::int64_t n) {
        return std::vector<Case>{{{2, n, 3}, {2, 4, 3}, {2, 1, 3}}, {{2, n, 3}}, {{2, n, 3}, {2, n, 3}}};
      },
      [](const auto& in) { return concat(in, -2); }, joined);
  table.push_back(concat_op);

  // Each piece is scaled by its number, so that pieces out of order, or a gradient at the wrong one, show.
  Operation split_op;
  split_op.name = "split";
  split_op.declared = {"split(Variable, int, int64_t)"};
  split_op.cases = [](std::int64_t n) { return std::vector<Case>{{{2, n}}}; };
  split_op.function = [](const std::vector<Variable>& in) {
    const std::int64_t size = std::max<std::int64_t>(2, in[0].dim(1) / 9);  // at most some ten pieces
    std::vector<Variable> pieces = split(in[0], -1, size);
    for (std::size_t i = 0; i < pieces.size(); ++i) pieces[i] = mul(pieces[i], static_cast<double>(i + 1));
    return concat(pieces, 1);
  };
  split_op.value = [f = split_op.function](const std::vector<Tensor>& in) {
    return f({Variable(in[0])}).value();
  };
  split_op.reference = [](const std::vector<Array>& in) {
    const std::int64_t size = std::max<std::int64_t>(2, in[0].shape[1] / 9);
    return make_array(in[0].shape, [&](const Index& index) {
      return element(in[0], index) * static_cast<double>(index[1] / size + 1);
    });
  };
  table.push_back(split_op);
}

}  // namespace

void add_views(std::vector<Operation>& table) {
  add_reshapes(table);
  add_reorderings(table);
  add_parts(table);
  add_joins(table);
}

}  // namespace retnet::test
