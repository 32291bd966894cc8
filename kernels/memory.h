/// @file
/// Memory of the host and of the device, and copies between them.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/exec.h"

namespace retnet::kernels {

/// Memory aligned to 64 bytes, or null where there is not as much left.
/// @throws DeviceError where there is no device
void* allocate(Cpu, std::int64_t bytes);
void* allocate(Hip, std::int64_t bytes);

/// Returns it to the system. The device finishes everything queued first.
void release(Cpu, void* memory);
void release(Hip, void* memory);

/// Fills it with 0xFF bytes, a NaN in every floating dtype.
void poison(Cpu, void* memory, std::int64_t bytes);
void poison(Hip, void* memory, std::int64_t bytes);

/// Copies from the host. The device's copy is queued, and `from` may change as soon as this returns.
void copy_in(Cpu, void* to, const void* from, std::int64_t bytes);
void copy_in(Hip, void* to, const void* from, std::int64_t bytes);

/// Copies to the host, after everything queued; waits for it.
void copy_out(Cpu, void* to, const void* from, std::int64_t bytes);
void copy_out(Hip, void* to, const void* from, std::int64_t bytes);

/// What a person calls it: the GPU's name and memory.
/// @throws DeviceError where there is no device
std::string description(Cpu);
std::string description(Hip);

}  // namespace retnet::kernels
