/// @file
/// The devices that the program computes on: what `--device` names.
#pragma once

#include <string>

#include "retnet/fields.h"
#include "tensor/dtype.h"

namespace retnet {

template <>
struct Names<Device> {
  static constexpr const char* list[] = {"cpu", "hip"};
};

/// @throws Error that says what to do unless this build and this machine have the device
void require_device(Device device);

/// Every device of this build, and what it is: "cpu, hip (NVIDIA H200, sm_90, 140 GiB)".
std::string devices();

}  // namespace retnet
