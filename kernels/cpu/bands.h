/// @file
/// Rows cut into bands for kernels that hold a band of C in registers.
#pragma once

#include <algorithm>
#include <cstdint>

namespace retnet::kernels {

/// A number of rows, at least one, cut into bands of at most `most`, as equal as possible: 64 rows are 4 bands of 13
/// and one of 12, which costs less than 4 of 14 and one of 8.
struct Bands {
  Bands(std::int64_t rows, std::int64_t most)
      : count((rows + most - 1) / most), small(rows / count), larger(rows % count) {}
  std::int64_t begin(std::int64_t band) const { return band * small + std::min(band, larger); }
  std::int64_t size(std::int64_t band) const { return small + (band < larger ? 1 : 0); }

  std::int64_t count, small, larger;  ///< the first `larger` bands have small + 1 rows
};

}  // namespace retnet::kernels
