/// @file
/// What is in the tensors of a safetensors file, without having them in memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tensor/safetensors.h"

namespace retnet {

/// Numbers that describe a tensor. Those that are not finite are counted and otherwise left out.
struct TensorStatistics {
  std::int64_t finite = 0, not_finite = 0;
  std::string low, high;  ///< the smallest and the largest, with all their digits; "" where `finite` is 0
  /// Of the finite: sum / n, and the square root of the mean squared distance from it; in f64, and not finite
  /// themselves where a square exceeds that.
  double mean = 0, deviation = 0;
};

/// Reads all data of a file once, block by block, in a few MiB of memory whatever its size.
/// @param header  of `file`
/// @returns for each tensor of the header, in its order, the statistics, or nothing where its dtype is none
///          of F64, F32, F16, BF16, the integers and BOOL (as 0 and 1)
/// @throws Error when reading fails, and when the data does not fit the checksum that our own files have
std::vector<std::optional<TensorStatistics>> safetensors_statistics(const InputFile& file,
                                                                    const SafetensorsHeader& header);

}  // namespace retnet
