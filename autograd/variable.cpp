#include "autograd/variable.h"

#include <atomic>
#include <queue>
#include <unordered_map>

#include "tensor/ops.h"

namespace retnet {

/// One operation, or leaf, of the graph: all that backward() has to know, without the value. An operation's
/// inputs are always older than itself, so the creation number alone is a topological order, and nothing ever
/// has to be sorted or visited recursively.
struct Node {
  Shape shape;  // of the value, and so of its gradient
  Dtype dtype = Dtype::f32;
  Tensor grad;
  const char* op = "leaf";
  std::uint64_t number = 0;
  bool requires_grad = false;
  bool released = false;  // true iff backward() freed the rule
  std::vector<std::shared_ptr<Node>> inputs;
  GradientRule rule;
  std::shared_ptr<Node> next_doomed;  // while the graph is taken apart

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();
};

struct Variable::Holder {
  Tensor value;
  std::shared_ptr<Node> node;
  Recipe recipe;
};

namespace {

using NodePtr = std::shared_ptr<Node>;

std::atomic<std::uint64_t> next_number{1};
thread_local bool recording = true;

std::shared_ptr<Node> make_node(const Tensor& value) {
  auto node = std::make_shared<Node>();
  node->shape = value.shape();
  node->dtype = value.dtype();
  node->number = next_number.fetch_add(1, std::memory_order_relaxed);
  return node;
}

bool fits(const Tensor& x, const Node& node) { return x.shape() == node.shape && x.dtype() == node.dtype; }

/// Refuses, in the name of `op`, a tensor that cannot stand for or beside a value: "needs [2, 3] f32, got
/// ...".
void require_fits(const char* op, const char* needs, const Tensor& given, const Node& node) {
  // An undefined tensor has the shape and dtype of an f32 scalar.
  require(given.defined(), op, needs, node.shape, " ", node.dtype, ", got an undefined tensor");
  require(fits(given, node), op, needs, node.shape, " ", node.dtype, ", got ", given.shape(), " ",
          given.dtype());
}

/// Sums gradients that arrive at one value.
class Accumulator {
 public:
  void add(const Tensor& g) {
    if (!sum_.defined()) {
      sum_ = g;
    } else if (sum_.storage().use_count() == 1 && sum_.is_contiguous()) {
      add_into(sum_, g);
    } else {
      // The first gradient may be shared with its rule or with another value, so it is not written to.
      sum_ = retnet::add(sum_, g);
    }
  }
  const Tensor& sum() const { return sum_; }

 private:
  Tensor sum_;
};

/// The gradients that a node's rule returns, after checking that they fit its inputs.
std::vector<Tensor> checked_rule(const Node& node, const Tensor& g) {
  std::vector<Tensor> result = node.rule(g);
  require(result.size() == node.inputs.size(), "backward", "the rule of ", node.op, " returned ",
          result.size(), " gradients for ", node.inputs.size(), " inputs");
  for (std::size_t i = 0; i < result.size(); ++i)
    require(!result[i].defined() || fits(result[i], *node.inputs[i]), "backward", "the rule of ", node.op,
            " returned a gradient ", result[i].shape(), " ", result[i].dtype(), " for input ", i,
            ", which is ", node.inputs[i]->shape, " ", node.inputs[i]->dtype);
  return result;
}

/// A leaf keeps its gradient for the caller, so it must not share storage with anything in the graph.
void accumulate_leaf(Node& leaf, const Tensor& g) {
  if (!leaf.grad.defined())
    leaf.grad = g.storage().use_count() > 1 ? clone(g) : contiguous(g);
  else if (leaf.grad.storage().use_count() == 1 && leaf.grad.is_contiguous())
    add_into(leaf.grad, g);
  else
    leaf.grad = add(leaf.grad, g);
}

}  // namespace

// A long recurrence is a long chain of shared_ptr; releasing it link by link from the outside keeps the
// destructors from calling one another until the stack is full. The links are those of the nodes themselves,
// because a destructor cannot ask for memory that may not be there.
Node::~Node() {
  NodePtr doomed;
  const auto release_inputs = [&doomed](Node& node) {
    for (NodePtr& link : node.inputs) {
      NodePtr input = std::move(link);
      if (input.use_count() != 1) continue;
      input->next_doomed = std::move(doomed);
      doomed = std::move(input);
    }
    node.inputs.clear();
  };
  release_inputs(*this);
  while (doomed) {
    const NodePtr node = std::move(doomed);
    doomed = std::move(node->next_doomed);
    release_inputs(*node);
  }
}

Variable::Variable(const Tensor& value, bool requires_grad) {
  require(value.defined(), "variable", "the tensor is undefined");
  require(!requires_grad || is_floating(value.dtype()), "variable",
          "only floating tensors have gradients, got ", value.dtype());
  holder_ = std::make_shared<Holder>(Holder{value, make_node(value), {}});
  holder_->node->requires_grad = requires_grad;
}

const Variable::Holder& Variable::holder() const {
  require(defined(), "variable", "the variable is undefined");
  return *holder_;
}

const Tensor& Variable::value() const { return holder().value; }
const std::shared_ptr<Node>& Variable::node() const { return holder().node; }
const Tensor& Variable::grad() const { return node()->grad; }
bool Variable::requires_grad() const { return node()->requires_grad; }

Recipe Variable::recipe() const {
  if (holder().recipe) return holder_->recipe;
  return [value = value()] { return value; };
}

void Variable::zero_grad() { node()->grad = Tensor(); }

void Variable::set_value(const Tensor& value) {
  require_fits("set_value", "needs ", value, *node());
  require(!node()->rule && node()->inputs.empty(), "set_value", "the variable is the result of ", node()->op,
          "; only a leaf can be set");
  holder_->value = value;
}

void Variable::set_grad(const Tensor& gradient) {
  require_fits("set_grad", "needs ", gradient, *node());
  node()->grad = gradient;
}

Variable Variable::detach() const { return Variable(value()); }

Variable record(const char* op, const Tensor& y, const std::vector<Variable>& inputs, GradientRule rule,
                Recipe recipe) {
  auto node = make_node(y);
  node->op = op;
  bool wanted = false;
  for (const Variable& input : inputs) wanted |= input.requires_grad();
  if (wanted && recording) {
    node->requires_grad = true;
    node->rule = std::move(rule);
    node->inputs.reserve(inputs.size());
    for (const Variable& input : inputs) node->inputs.push_back(input.node());
  } else {
    recipe = {};
  }
  return Variable(
      std::make_shared<Variable::Holder>(Variable::Holder{y, std::move(node), std::move(recipe)}));
}

/// Walks the graph below y from the newest operation to the oldest and hands each leaf's gradient to
/// `leaf(node, g)`.
template <class Leaf>
void propagate(const Variable& y, const Tensor& dy, Graph graph, Leaf&& leaf) {
  require_fits("backward", "the gradient must be ", dy, *y.node());
  const NoGrad no_grad;
  // The gradients of intermediate values live here and not in the nodes, so that a second pass starts from
  // nothing.
  const auto older = [](const NodePtr& a, const NodePtr& b) { return a->number < b->number; };
  std::priority_queue<NodePtr, std::vector<NodePtr>, decltype(older)> due(older);
  std::unordered_map<Node*, Accumulator> sums;
  sums[y.node().get()].add(dy);
  due.push(y.node());
  while (!due.empty()) {
    const NodePtr node = due.top();
    due.pop();
    Tensor g = sums[node.get()].sum();
    sums.erase(node.get());
    require(!node->released, "backward", "the graph of ", node->op, " was released by an earlier backward()");
    if (!node->rule) {
      leaf(*node, g);
      continue;
    }
    const std::vector<Tensor> input_gradients = checked_rule(*node, g);
    for (std::size_t i = 0; i < node->inputs.size(); ++i) {
      if (!node->inputs[i]->requires_grad || !input_gradients[i].defined()) continue;
      const auto [entry, first] = sums.try_emplace(node->inputs[i].get());
      entry->second.add(input_gradients[i]);
      if (first) due.push(node->inputs[i]);
    }
    if (graph == Graph::release) {
      node->rule = nullptr;
      node->inputs.clear();
      node->released = true;
    }
  }
}

void backward(const Variable& y, const Tensor& dy, Graph graph, Turn* turn) {
  require(y.requires_grad(), "backward", "nothing that this value was computed from requires a gradient");
  propagate(y, dy, graph, [turn](Node& leaf, const Tensor& g) {
    if (!turn) return accumulate_leaf(leaf, g);
    turn->take(&leaf, [&] { accumulate_leaf(leaf, g); });
  });
}

std::vector<Tensor> gradients(const Variable& y, const Tensor& dy, const std::vector<Variable>& inputs) {
  std::unordered_map<const Node*, Tensor> found;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Node& input = *inputs[i].node();
    require(!input.rule, "gradients", "input ", i, " is the result of ", input.op,
            "; only leaves can be asked for");
    found[&input];
  }
  if (y.requires_grad())
    propagate(y, dy, Graph::keep, [&](const Node& leaf, const Tensor& g) {
      const auto entry = found.find(&leaf);
      require(entry != found.end(), "gradients", "the value depends on a leaf ", leaf.shape,
              " that requires a gradient and is not among the inputs; pass it as one");
      entry->second = g;
    });
  std::vector<Tensor> result;
  for (const Variable& input : inputs) result.push_back(found[input.node().get()]);
  return result;
}

void backward(const Variable& loss, Graph graph) {
  require(loss.size() == 1, "backward", "without dL/dy the value must have one element, got ", loss.shape());
  backward(loss, Tensor::full(loss.shape(), 1, loss.dtype(), loss.value().device()), graph);
}

Recording::Recording(bool on) : before_(recording) { recording = on; }
Recording::~Recording() { recording = before_; }
bool grad_enabled() { return recording; }

}  // namespace retnet
