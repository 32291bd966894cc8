#include "train/optimizer.h"

#include <cmath>

namespace retnet {

Optimizer::Optimizer(std::vector<Parameter> parameters) : parameters_(std::move(parameters)) {
  for (const Parameter& p : parameters_) {
    const Tensor& w = p.variable.value();
    moments_.push_back(
        {Tensor::zeros(w.shape(), w.dtype(), w.device()), Tensor::zeros(w.shape(), w.dtype(), w.device())});
  }
}

double Optimizer::gradient_norm(std::int64_t step) const {
  double squares = 0;
  for (const Parameter& p : parameters_) {
    const Tensor& gradient = p.variable.grad();
    require(gradient.defined(), "train", "the gradient of ", p.name, " at step ", step, " is missing");
    const double part = sum_squares(contiguous(gradient));
    require(std::isfinite(part), "train", "the gradient of ", p.name, " at step ", step, " is not finite");
    squares += part;
  }
  return std::sqrt(squares);
}

void Optimizer::step(const TrainSettings& settings, std::int64_t step, double norm) {
  kernels::AdamW adamw;
  adamw.learning_rate = learning_rate(settings, step);
  adamw.beta1 = settings.beta1, adamw.beta2 = settings.beta2;
  adamw.gradient_scale = settings.clip > 0 && norm > settings.clip ? settings.clip / norm : 1;
  adamw.step = step;
  adamw.weight_decay = settings.weight_decay;
  std::vector<AdamWParameter> updates;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Variable& variable = parameters_[i].variable;
    updates.push_back(
        {variable.value(), moments_[i].m, moments_[i].v, contiguous(variable.grad()), variable.rank() == 2});
  }
  adamw_update(adamw, updates);
  zero_grad();
}

void Optimizer::zero_grad() {
  for (Parameter& p : parameters_) p.variable.zero_grad();
}

}  // namespace retnet
