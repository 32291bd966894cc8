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

GradientNorm Optimizer::gradient_norm(std::int64_t step, double clip) const {
  std::vector<Tensor> gradients;
  for (const Parameter& p : parameters_) {
    const Tensor& gradient = p.variable.grad();
    require(gradient.defined(), "train", "the gradient of ", p.name, " at step ", step, " is missing");
    gradients.push_back(contiguous(gradient));
  }
  const Tensor squares = sum_squares(gradients);
  return {squares, clip_by_norm(squares, clip)};
}

void Optimizer::check(const GradientNorm& norm, std::int64_t step) const {
  const std::vector<double> squares = norm.squares.to_vector<double>();
  for (std::size_t i = 0; i < squares.size(); ++i)
    require(std::isfinite(squares[i]), "train", "the gradient of ", parameters_[i].name, " at step ", step,
            " is not finite");
}

void Optimizer::step(const TrainSettings& settings, std::int64_t step, const GradientNorm& norm) {
  kernels::AdamW adamw;
  adamw.learning_rate = learning_rate(settings, step);
  adamw.beta1 = settings.beta1, adamw.beta2 = settings.beta2;
  adamw.step = step;
  adamw.weight_decay = settings.weight_decay;
  std::vector<AdamWParameter> updates;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Variable& variable = parameters_[i].variable;
    updates.push_back(
        {variable.value(), moments_[i].m, moments_[i].v, contiguous(variable.grad()), variable.rank() == 2});
  }
  adamw_update(adamw, updates, norm.global.scale);
  zero_grad();
}

void Optimizer::to(Device device) {
  for (Moments& moments : moments_) moments = {moments.m.to(device), moments.v.to(device)};
}

void Optimizer::zero_grad() {
  for (Parameter& p : parameters_) p.variable.zero_grad();
}

}  // namespace retnet
