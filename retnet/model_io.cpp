// A model as a folder: config.json says what it is, model.safetensors holds its weights.

#include <cmath>
#include <map>

#include "retnet/model.h"
#include "tensor/safetensors.h"
#include "tensor/text.h"

namespace retnet {
namespace {

bool all_finite(const Tensor& x) {
  // A sum of squares is not finite iff an element is not, or is so large that training has failed anyway.
  return std::isfinite(sum_squares(x));
}

/// Replaces every parameter by the tensor of its name; both sides must fit exactly.
void set_parameters(RetNet& model, const std::vector<NamedTensor>& tensors, const char* path) {
  std::map<std::string, Tensor> by_name;
  for (const NamedTensor& tensor : tensors) by_name[tensor.name] = tensor.value;
  for (Parameter& parameter : model.parameters()) {
    const auto found = by_name.find(parameter.name);
    require(found != by_name.end(), path, "the tensor ", parameter.name,
            " is missing; config.json asks for it");
    const Tensor& value = found->second;
    require(value.shape() == parameter.variable.shape() && value.dtype() == parameter.variable.dtype(), path,
            parameter.name, " is ", value.shape(), " ", value.dtype(), ", but config.json asks for ",
            parameter.variable.shape(), " ", parameter.variable.dtype());
    require(all_finite(value), path, parameter.name, " holds a number that is not finite");
    parameter.variable.set_value(value);
    by_name.erase(found);
  }
  require(by_name.empty(), path, "the tensor ", by_name.empty() ? "" : quote(by_name.begin()->first),
          " is not part of the model that config.json describes");
}

}  // namespace

void save_model(const std::string& folder, RetNet& model) {
  write_json(folder + "/config.json", to_json(model.config()));
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : model.parameters())
    tensors.push_back({parameter.name, parameter.variable.value()});
  save_safetensors(folder + "/model.safetensors", tensors, {{"format", "retnet"}});
}

RetNet load_model(const std::string& folder) {
  const std::string config_path = folder + "/config.json", weights_path = folder + "/model.safetensors";
  const Config config = config_from_json(read_json(config_path), config_path);
  const SafetensorsFile file = load_safetensors(weights_path);
  // The weights decide the dtype; the first parameter stands for all, and the others are checked against it.
  Dtype dtype = Dtype::f32;
  for (const NamedTensor& tensor : file.tensors)
    if (tensor.name == "embed.weight") dtype = tensor.value.dtype();
  require(dtype == Dtype::f32 || dtype == Dtype::f64, weights_path.c_str(), "embed.weight is ", dtype,
          ", but a model is f32 or f64");
  // A config of a far larger model is refused before its weights are allocated.
  std::int64_t numbers = 0;
  for (const NamedTensor& tensor : file.tensors) numbers += tensor.value.size();
  require(config.parameters() / 2 <= numbers + 4096, weights_path.c_str(), "holds ", numbers,
          " weights, but config.json asks for ", config.parameters());
  RetNet model(config, 1, dtype);
  set_parameters(model, file.tensors, weights_path.c_str());
  return model;
}

}  // namespace retnet
