// The product of a few rows with packed weights. At one row a product does two operations for every weight it
// loads, so it takes as long as the weights take to arrive: all that matters is to ask for each of them once,
// in order, and to have enough sums under way that no addition waits for the one before it.

#include <algorithm>
#include <array>

#include "kernels/cpu/simd.h"
#include "kernels/decode.h"

namespace retnet::kernels {
namespace {

/// Vectors that hold one row of a tile.
template <class A>
constexpr int kTileVectors = static_cast<int>(kTile) / kLanes<A>;

/// Rows of x that one pass over the weights serves: their sums, a row of a tile and one product stay in
/// registers.
template <class A>
constexpr int kPassRows = std::min(8, std::max(1, (kVectorRegisters - 4) / kTileVectors<A>));

/// Tiles side by side, 1, 2 or 4: a sum is a chain of dependent additions, so few rows need more tiles to
/// keep the multipliers and the loads busy.
template <class A>
constexpr int side_by_side(int rows) {
  const int wanted = kVectorRegisters / 2 / (rows * kTileVectors<A>);
  return wanted >= 4 ? 4 : wanted >= 2 ? 2 : 1;
}

/// True where bf16 tiles hold column j beside column j + kTile / 2: then one load of 32-bit words yields two
/// vectors of floats, by a shift and by a mask. Vectors as long as the whole tile are widened instead.
constexpr bool kPaired = kLanes<float> < kTile;

/// One row of a tile, as vectors in the order of columns.
template <class W>
inline void load_row(Vec<accum_t<W>>* row, const W* tile) {
  using A = accum_t<W>;
  constexpr int V = kTileVectors<A>;
  if constexpr (std::is_same_v<W, bf16> && kPaired) {
    for (int v = 0; v < V / 2; ++v) {
      Vec<std::uint32_t> words;
      __builtin_memcpy(&words, tile + 2 * v * kLanes<float>, sizeof words);
      const Vec<std::uint32_t> low = words << 16, high = words & 0xffff0000u;
      __builtin_memcpy(&row[v], &low, sizeof low);
      __builtin_memcpy(&row[v + V / 2], &high, sizeof high);
    }
  } else {
    for (int v = 0; v < V; ++v) row[v] = load(tile + v * kLanes<A>);
  }
}

/// y[Rows, Tiles * kTile] = x W over the whole of k, added to y if `add`.
///
/// One row or two take their weights at the pace at which memory gives them, and the processor sees what
/// comes next. More rows go slower, with pauses at every page; they ask for the weights `ahead` elements on.
template <class W, int Rows, int Tiles>
void pass(accum_t<W>* y, std::int64_t y_step, const accum_t<W>* x, std::int64_t x_step, const W* tiles,
          std::int64_t k, bool add, std::int64_t ahead) {
  using A = accum_t<W>;
  constexpr int V = kTileVectors<A>;
  Vec<A> sum[Rows][Tiles * V];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Tiles * V; ++v) sum[i][v] = Vec<A>{};
  for (std::int64_t p = 0; p < k; ++p) {
    Vec<A> w[Tiles * V];
    for (int t = 0; t < Tiles; ++t) {
      const W* row = tiles + (t * k + p) * kTile;
      if constexpr (Rows > 2) __builtin_prefetch(row + ahead);
      load_row(w + t * V, row);
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
      for (int v = 0; v < Tiles * V; ++v) sum[i][v] += x[i * x_step + p] * w[v];  // one fused instruction
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Tiles * V; ++v) {
      A* y_iv = y + i * y_step + v * kLanes<A>;
      store<A>(y_iv, add ? load(y_iv) + sum[i][v] : sum[i][v]);
    }
}

template <class W>
using Pass = void (*)(accum_t<W>*, std::int64_t, const accum_t<W>*, std::int64_t, const W*, std::int64_t,
                      bool, std::int64_t);

/// pass() for 1 .. kPassRows rows, and for 1, 2 and 4 tiles as far as side_by_side() asks for them.
template <class W, int Tiles, int... I>
constexpr std::array<Pass<W>, sizeof...(I)> passes(std::integer_sequence<int, I...>) {
  return {pass<W, I + 1, std::min(Tiles, side_by_side<accum_t<W>>(I + 1))>...};
}
template <class W>
constexpr std::array<Pass<W>, kPassRows<accum_t<W>>> kPasses[3] = {
    passes<W, 1>(std::make_integer_sequence<int, kPassRows<accum_t<W>>>()),
    passes<W, 2>(std::make_integer_sequence<int, kPassRows<accum_t<W>>>()),
    passes<W, 4>(std::make_integer_sequence<int, kPassRows<accum_t<W>>>())};

}  // namespace

template <class W>
void pack_tiles(Cpu, W* tiles, const accum_t<W>* weight, std::int64_t n, std::int64_t k) {
  for (std::int64_t t = 0; t < tiles_of(n); ++t)
    for (std::int64_t p = 0; p < k; ++p)
      for (std::int64_t c = 0; c < kTile; ++c) {
        const std::int64_t column = t * kTile + c, half = kTile / 2;
        const bool paired = std::is_same_v<W, bf16> && kPaired;
        const std::int64_t at = paired ? c % half * 2 + c / half : c;
        tiles[(t * k + p) * kTile + at] = W(column < n ? weight[column * k + p] : accum_t<W>(0));
      }
}

template <class W>
void tiled_product(Cpu, accum_t<W>* y, std::int64_t y_step, const accum_t<W>* x, std::int64_t x_step,
                   std::int64_t rows, const W* tiles, std::int64_t count, std::int64_t k, bool add) {
  using A = accum_t<W>;
  // Passes of nearly equal height, so that none is left with a single row.
  const std::int64_t blocks = (rows + kPassRows<A> - 1) / kPassRows<A>;
  const int widest = side_by_side<A>(static_cast<int>((rows + blocks - 1) / blocks));
  int level = 2;  // tiles side by side: 1 << level
  for (std::int64_t t = 0; t < count; t += 1 << level) {
    while ((1 << level) > widest || t + (1 << level) > count) --level;
    // A tile stays in the first-level cache while all rows pass by; the first of them ask for the next one.
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t first = b * rows / blocks, height = (b + 1) * rows / blocks - first;
      kPasses<W>[level][static_cast<std::size_t>(height - 1)](
          y + first * y_step + t * kTile, y_step, x + first * x_step, x_step, tiles + t * k * kTile, k, add,
          b == 0 ? (k * kTile) << level : 0);
    }
  }
}

#define RETNET_DECODE_PRODUCT(W)                                                                  \
  template void pack_tiles<W>(Cpu, W*, const accum_t<W>*, std::int64_t, std::int64_t);            \
  template void tiled_product<W>(Cpu, accum_t<W>*, std::int64_t, const accum_t<W>*, std::int64_t, \
                                 std::int64_t, const W*, std::int64_t, std::int64_t, bool);
RETNET_DECODE_PRODUCT(float)
RETNET_DECODE_PRODUCT(double)
RETNET_DECODE_PRODUCT(bf16)

}  // namespace retnet::kernels
