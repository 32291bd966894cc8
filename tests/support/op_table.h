/// @file
/// The operation table: one entry per function of autograd/functions.h, tensor/ops.h and tensor/views.h. It
/// says how to make inputs and what the result must be; the tests of values, gradients and threads are
/// generated from it (tests/autograd/operations_test.cpp), and fail for a function that has no entry.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/functions.h"
#include "tests/support/random.h"

namespace retnet::test {

/// One input of an operation.
struct Input {
  Input(std::initializer_list<std::int64_t> sizes) : shape(sizes) {}
  Input(const Shape& sizes, std::int64_t below) : shape(sizes), ids_below(below) {}
  Shape shape;
  std::int64_t ids_below = 0;  ///< when positive, the input is i32 in 0 .. ids_below-1
};
using Case = std::vector<Input>;

struct Operation {
  std::string name;                   ///< of the entry; a function may have several
  std::vector<std::string> declared;  ///< the declarations it covers, as declarations_in() spells them
  std::function<std::vector<Case>(std::int64_t n)>
      cases;  ///< combinations of input shapes for a size n >= smallest
  std::function<Variable(const std::vector<Variable>&)>
      function;  ///< empty for operations without a gradient
  std::function<Tensor(const std::vector<Tensor>&)> value;
  std::function<Array(const std::vector<Array>&)> reference;  ///< written without the library

  Domain domain = Domain::any;
  std::int64_t smallest = 0;     ///< the least n with a defined result
  std::int64_t informative = 1;  ///< below this n, gradients may all be zero (softmax of one element, say)
  std::int64_t large = 11003;    ///< an n at which several threads share the work
  bool smooth = true;            ///< false: rounds its input, so central differences say nothing
};

/// The cases of an operation in which something is empty: of each of its cases, every extent of every input
/// set to 0 in turn, and all the extents that are equal together, since those of several inputs often have to
/// be. Not all of them are shapes that the operation takes.
std::vector<Case> empty_cases(const Operation& op);

/// The whole table, built once.
const std::vector<Operation>& operations();

/// Declarations of functions in the text of a header, e.g. "sum(Variable, int, bool)": parameter types
/// without const,
/// &, std::, names and defaults.
std::vector<std::string> declarations_in(const std::string& header_text);

/// "sum(X, int)" for both layers: {"sum(Variable, int)", "sum(Tensor, int)"}.
std::vector<std::string> both(const std::string& declaration);

/// An entry whose function and value are the same generic lambda over a vector of Variables or Tensors.
template <class F>
Operation differentiable(const std::string& name, const std::string& declaration,
                         std::function<std::vector<Case>(std::int64_t)> cases, F f,
                         std::function<Array(const std::vector<Array>&)> reference) {
  Operation op;
  op.name = name;
  op.declared = both(declaration);
  op.cases = std::move(cases);
  op.function = [f](const std::vector<Variable>& in) -> Variable { return f(in); };
  op.value = [f](const std::vector<Tensor>& in) -> Tensor { return f(in); };
  op.reference = std::move(reference);
  return op;
}

/// An entry without a gradient.
Operation value_only(const std::string& name, const std::vector<std::string>& declared,
                     std::function<std::vector<Case>(std::int64_t)> cases,
                     std::function<Tensor(const std::vector<Tensor>&)> value,
                     std::function<Array(const std::vector<Array>&)> reference);

/// ids as a Tensor, whichever layer asks.
inline const Tensor& ids_of(const Tensor& x) { return x; }
inline const Tensor& ids_of(const Variable& x) { return x.value(); }

/// @name Shapes that many operations share
/// @{
std::vector<Case> unary_cases(std::int64_t n);
std::vector<Case> binary_cases(std::int64_t n);      ///< every way to broadcast
std::vector<Case> same_shape_cases(std::int64_t n);  ///< two inputs of one shape
std::vector<Case> row_cases(std::int64_t n);         ///< rows of n
/// @}

/// @name References
/// @{
using Reference = std::function<Array(const std::vector<Array>&)>;
Reference each(double (*f)(double));               ///< f of every element
Reference each_pair(double (*f)(double, double));  ///< f of every pair, broadcast
/// The rows along the last dimension, each turned into a row by `f`; the result's last dimension is what f
/// returns.
Reference each_row(std::function<std::vector<double>(const std::vector<double>&)> f);
/// The same with several inputs: f gets the row of each; an input without the last dimension has rows of one
/// number.
Reference each_rows(std::function<std::vector<double>(const std::vector<std::vector<double>>&)> f);
/// As each_row(), where f returns one number and the last dimension goes.
Reference each_row_to_one(std::function<double(const std::vector<double>&)> f);
/// @}

/// f32 in place of bf16, for kernels that do not have it.
std::vector<Tensor> at_least_f32(const std::vector<Tensor>& in);

/// @name The parts of the table, one file each
/// @{
void add_elementwise(std::vector<Operation>& table);
void add_views(std::vector<Operation>& table);
void add_reductions(std::vector<Operation>& table);
void add_rows(std::vector<Operation>& table);
void add_fused(std::vector<Operation>& table);
void add_retention(std::vector<Operation>& table);
void add_values(std::vector<Operation>& table);
/// @}

}  // namespace retnet::test
