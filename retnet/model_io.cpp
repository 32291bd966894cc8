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
    require(value.shape() == parameter.variable.shape(), path, parameter.name, " is ", value.shape(),
            ", but config.json asks for ", parameter.variable.shape());
    require(all_finite(value), path, parameter.name, " holds a number that is not finite");
    parameter.variable.set_value(value);
    by_name.erase(found);
  }
  require(by_name.empty(), path, "the tensor ", by_name.empty() ? "" : quote(by_name.begin()->first),
          " is not part of the model that config.json describes");
}

/// @returns the dtype of the weights in a file. @throws Error unless it is the same for all, and one that a
/// model may have
Dtype weights_dtype(const std::string& path) {
  const std::vector<SafetensorsEntry> tensors = read_safetensors_header(path).tensors;
  for (const SafetensorsEntry& tensor : tensors) {
    require(tensor.dtype == "F32" || tensor.dtype == "F64", printable(path).c_str(), "the tensor ",
            quote(tensor.name), " is ", printable(tensor.dtype),
            ", but a model's weights are F32 or F64; convert them to F32");
    require(tensor.dtype == tensors[0].dtype, printable(path).c_str(), "the tensor ", quote(tensor.name),
            " is ", tensor.dtype, " and ", quote(tensors[0].name), " is ", tensors[0].dtype,
            ", but all weights of a model have one dtype; convert them to F32");
  }
  return tensors.empty() || tensors[0].dtype == "F32" ? Dtype::f32 : Dtype::f64;
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
  const Dtype dtype = weights_dtype(weights_path);
  const SafetensorsFile file = load_safetensors(weights_path);
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
