#include "train/devices.h"

#include "kernels/memory.h"
#include "tensor/dispatch.h"

namespace retnet {
namespace {

std::string description(Device device) {
  return on_device("device", device, [](auto exec) { return kernels::description(exec); });
}

}  // namespace

void require_device(Device device) {
  require(kHasGpu || device == Device::cpu, "--device", device,
          " is not in this build; configure with -DRETNET_GPU=amd or nvidia, or use --device cpu");
  description(device);  // throws where there is none
}

std::string devices() {
  if (!kHasGpu) return "cpu (this build has no GPU support)";
  try {
    return "cpu, hip (" + description(Device::hip) + ")";
  } catch (const kernels::DeviceError& error) {
    return "cpu (hip is built in, but " + std::string(error.what()) + ")";
  }
}

}  // namespace retnet
