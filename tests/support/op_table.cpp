#include "tests/support/op_table.h"

#include <regex>
#include <set>

namespace retnet::test {
namespace {

std::string without(std::string text, const std::string& pattern) {
  return std::regex_replace(text, std::regex(pattern), "");
}

/// The parameters between the parentheses of a declaration; commas inside <> and () do not separate.
std::vector<std::string> parameters(const std::string& text) {
  std::vector<std::string> result(1);
  int depth = 0;
  for (const char c : text) {
    depth += (c == '<' || c == '(') - (c == '>' || c == ')');
    if (c == ',' && depth == 0) {
      result.emplace_back();
    } else {
      result.back() += c;
    }
  }
  return result;
}

/// "const std::vector<int>& order = {}" is "vector<int>".
std::string type_of_parameter(const std::string& text) {
  std::string type = without(text, R"(=[^=]*$|const\s|std::|&|kernels::)");
  type = without(type, R"(^\s+|\s+$)");
  return without(type, R"(\s+\w+$)");
}

}  // namespace

std::vector<std::string> declarations_in(const std::string& header_text) {
  const std::string code = without(header_text, R"(//[^\n]*|#[^\n]*)");
  const std::regex declaration(R"((?:^|[\n;])\s*[\w:<>]+\s+(\w+)\(([^;{}]*)\)\s*(?=;))");
  std::vector<std::string> result;
  for (std::sregex_iterator match(code.begin(), code.end(), declaration), end; match != end; ++match) {
    std::string text = (*match)[1].str() + "(";
    for (const std::string& parameter : parameters((*match)[2].str()))
      text += (text.back() == '(' ? "" : ", ") + type_of_parameter(parameter);
    result.push_back(text + ")");
  }
  return result;
}

std::vector<std::string> both(const std::string& declaration) {
  const std::regex x("\\bX\\b");
  return {std::regex_replace(declaration, x, "Variable"), std::regex_replace(declaration, x, "Tensor")};
}

std::vector<Case> empty_cases(const Operation& op) {
  constexpr std::int64_t kSize = 7;  // which no case has for another reason
  std::vector<Case> result;
  // Sets to 0 what `empties(input, dimension, extent)` says, unless that is nothing.
  const auto add = [&](const Case& shapes, auto&& empties) {
    Case changed = shapes;
    bool any = false;
    for (std::size_t i = 0; i < changed.size(); ++i)
      for (int d = 0; d < changed[i].shape.rank(); ++d) {
        if (!empties(i, d, shapes[i].shape[d])) continue;
        changed[i].shape[d] = 0;
        any = true;
      }
    if (any) result.push_back(changed);
  };
  for (const Case& shapes : op.cases(std::max(op.smallest, kSize))) {
    std::set<std::int64_t> extents;
    for (std::size_t i = 0; i < shapes.size(); ++i)
      for (int d = 0; d < shapes[i].shape.rank(); ++d) {
        extents.insert(shapes[i].shape[d]);
        add(shapes,
            [&](std::size_t input, int dimension, std::int64_t) { return input == i && dimension == d; });
      }
    for (const std::int64_t extent : extents)
      add(shapes, [&](std::size_t, int, std::int64_t size) { return size == extent; });
  }
  return result;
}

Operation value_only(const std::string& name, const std::vector<std::string>& declared,
                     std::function<std::vector<Case>(std::int64_t)> cases,
                     std::function<Tensor(const std::vector<Tensor>&)> value,
                     std::function<Array(const std::vector<Array>&)> reference) {
  Operation op;
  op.name = name;
  op.declared = declared;
  op.cases = std::move(cases);
  op.value = std::move(value);
  op.reference = std::move(reference);
  return op;
}

std::vector<Case> unary_cases(std::int64_t n) {
  if (n == 1) return {{{}}, {{1}}, {{1, 1, 1}}};
  return {{{n}}, {{3, n}}};
}

std::vector<Case> binary_cases(std::int64_t n) {
  return {{{n}, {n}}, {{3, n}, {3, n}}, {{3, n}, {n}},       {{n}, {3, n}}, {{n}, {}},
          {{}, {n}},  {{3, 1}, {1, n}}, {{2, 1, n}, {3, 1}}, {{n, 2}, {1}}};
}

std::vector<Case> same_shape_cases(std::int64_t n) { return {{{n}, {n}}, {{3, n}, {3, n}}}; }

std::vector<Case> row_cases(std::int64_t n) { return {{{n}}, {{3, n}}, {{2, 2, n}}, {{0, n}}}; }

Reference each(double (*f)(double)) {
  return [f](const std::vector<Array>& in) {
    return make_array(in[0].shape, [&](const Index& index) { return f(element(in[0], index)); });
  };
}

Reference each_pair(double (*f)(double, double)) {
  return [f](const std::vector<Array>& in) {
    const Array &a = in[0], &b = in[1];
    Shape shape = a.shape.rank() > b.shape.rank() ? a.shape : b.shape;
    for (const Array* x : {&a, &b})
      for (int d = 1; d <= x->shape.rank(); ++d) {
        const std::int64_t size = x->shape[x->shape.rank() - d];
        if (size != 1) shape[shape.rank() - d] = size;
      }
    return make_array(shape, [&](const Index& index) { return f(element(a, index), element(b, index)); });
  };
}

Reference each_rows(std::function<std::vector<double>(const std::vector<std::vector<double>>&)> f) {
  return [f](const std::vector<Array>& in) {
    const std::int64_t rows = elements(in[0].shape) / in[0].shape.back();
    Array y{in[0].shape, {}};
    for (std::int64_t row = 0; row < rows; ++row) {
      std::vector<std::vector<double>> of_each;
      for (const Array& x : in) {
        const std::int64_t n = elements(x.shape) / rows;
        of_each.emplace_back(x.values.begin() + row * n, x.values.begin() + (row + 1) * n);
      }
      const std::vector<double> result = f(of_each);
      y.values.insert(y.values.end(), result.begin(), result.end());
      y.shape[y.shape.rank() - 1] = static_cast<std::int64_t>(result.size());
    }
    return y;
  };
}

Reference each_row(std::function<std::vector<double>(const std::vector<double>&)> f) {
  return each_rows([f](const std::vector<std::vector<double>>& rows) { return f(rows[0]); });
}

Reference each_row_to_one(std::function<double(const std::vector<double>&)> f) {
  return [f](const std::vector<Array>& in) {
    Array y = each_row([&](const std::vector<double>& row) { return std::vector<double>{f(row)}; })(in);
    y.shape.erase(y.shape.rank() - 1);
    return y;
  };
}

std::vector<Tensor> at_least_f32(const std::vector<Tensor>& in) {
  std::vector<Tensor> x;
  for (const Tensor& t : in) x.push_back(t.dtype() == Dtype::bf16 ? in_dtype(t, Dtype::f32) : t);
  return x;
}

const std::vector<Operation>& operations() {
  static const std::vector<Operation> table = [] {
    std::vector<Operation> all;
    add_elementwise(all);
    add_views(all);
    add_reductions(all);
    add_rows(all);
    add_fused(all);
    add_retention(all);
    add_values(all);
    return all;
  }();
  return table;
}

}  // namespace retnet::test
