/// @file
/// Variable: a tensor that remembers how it was computed; and backward(), which walks that memory. Read this
/// first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "autograd/turns.h"
#include "tensor/tensor.h"

namespace retnet {

/// The gradient rule of one operation: from dL/dy to dL/dx_i, one per input, in order. A rule returns
/// gradients and changes nothing; an undefined Tensor means that an input has none. It captures the tensors
/// it needs, never Variables, so the graph has no cycles.
using GradientRule = std::function<std::vector<Tensor>(const Tensor& dy)>;

/// How to compute a value a second time, at a fraction of what keeping it would cost.
using Recipe = std::function<Tensor()>;

struct Node;

/// A value in a computation that can be differentiated. Copies share the value, the gradient and the history.
class Variable {
 public:
  Variable() = default;
  /// A leaf: a parameter when `requires_grad`, else a constant.
  explicit Variable(const Tensor& value, bool requires_grad = false);

  bool defined() const { return holder_ != nullptr; }
  const Tensor& value() const;
  /// The same tensor again: by the recipe where there is one (see record()), else the value itself.
  Recipe recipe() const;
  /// dL/d(this), after backward(): defined for leaves that require a gradient and were reached.
  const Tensor& grad() const;
  bool requires_grad() const;  ///< true iff a gradient is wanted here or at anything this was computed from

  void zero_grad();  ///< forgets the gradient
  void set_value(
      const Tensor& value);  ///< replaces a leaf's value; shape and dtype must stay, the device may change
  void set_grad(const Tensor& gradient);  ///< replaces a leaf's gradient; shape and dtype must be the value's
  Variable detach() const;                ///< a constant of the same value, without history

  /// @name The value's description
  /// @{
  const Shape& shape() const { return value().shape(); }          ///< the value's sizes
  int rank() const { return value().rank(); }                     ///< number of dimensions
  std::int64_t dim(int axis) const { return value().dim(axis); }  ///< size along an axis
  std::int64_t size() const { return value().size(); }            ///< number of elements
  Dtype dtype() const { return value().dtype(); }                 ///< type of the elements
  Device device() const { return value().device(); }              ///< where they are stored
  /// @}

  const std::shared_ptr<Node>& node() const;  ///< its place in the graph

 private:
  /// The value is not part of the graph: it is freed with the last Variable, unless a rule captured it.
  struct Holder;
  explicit Variable(std::shared_ptr<Holder> holder) : holder_(std::move(holder)) {}
  const Holder& holder() const;
  friend Variable record(const char* op, const Tensor& y, const std::vector<Variable>& inputs,
                         GradientRule rule, Recipe recipe);

  std::shared_ptr<Holder> holder_;
};

/// The only way to add an operation to the graph: y was computed by `op` from `inputs`, and `rule` is its
/// gradient. The inputs and the rule are dropped at once when no input requires a gradient, or inside NoGrad.
/// @param recipe  optional: computes y again, bit for bit, from tensors that are kept anyway. A rule that
/// needs
///                y later should then keep Variable::recipe() and not y; worth it for passes over memory that
///                are cheap beside a matrix product, such as norms.
Variable record(const char* op, const Tensor& y, const std::vector<Variable>& inputs, GradientRule rule,
                Recipe recipe = {});

/// What backward() leaves behind.
enum class Graph {
  keep,     ///< everything: another backward() over the same graph is possible, and right
  release,  ///< nothing: each operation's saved tensors are freed as soon as it is done, and a second pass is
            ///< an error
};

/// Adds dL/dx to grad() of every leaf x that y depends on and that requires a gradient, given dL/dy.
/// Operations are visited from the newest to the oldest, without recursion, each once. Cost: as the rules',
/// plus one addition for every use of a value after the first.
/// @param dy    dL/dy, of y's shape and dtype
/// @param turn  where other threads add to the same leaves meanwhile: the place of this pass among theirs
/// @throws Error when a rule returns a gradient of another shape or dtype than its input, naming the
/// operation
void backward(const Variable& y, const Tensor& dy, Graph graph = Graph::keep, Turn* turn = nullptr);

/// The same for a loss L = y of one element: dL/dy = 1.
void backward(const Variable& loss, Graph graph = Graph::keep);

/// dL/dx for each x of `inputs`, given dL/dy, without touching any grad(). Undefined where y does not depend
/// on x.
/// @throws Error when y depends on a leaf that requires a gradient and is not among `inputs`
std::vector<Tensor> gradients(const Variable& y, const Tensor& dy, const std::vector<Variable>& inputs);

/// While an object of this class lives, recording on this thread is on or off; the state before comes back
/// after.
class Recording {
 public:
  explicit Recording(bool on);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  bool before_;
};

/// Nothing is recorded on this thread while an object of this class lives.
struct NoGrad : Recording {
  NoGrad() : Recording(false) {}
};

/// True iff operations are recorded on this thread.
bool grad_enabled();

}  // namespace retnet
