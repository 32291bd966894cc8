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

/// Rows of a tile that one load brings. Those of bf16 come in pairs: a 32-bit word holds rows 2j and 2j + 1
/// of its column, and becomes two floats by a shift and by a mask. A last row without a partner lies as it
/// is.
template <class W>
constexpr int kTogether = std::is_same_v<W, bf16> ? 2 : 1;

/// Rows of x that one pass over the weights serves: their sums, rows of a tile and one product stay in
/// registers.
template <class W, class A = accum_t<W>>
constexpr int kPassRows = std::min(8,
                                   std::max(1, (kVectorRegisters - 4) / kTileVectors<A> + 1 - kTogether<W>));

/// Tiles side by side, 1, 2, 4 or 8: a sum is a chain of dependent additions, so few rows need more tiles to
/// keep the multipliers and the loads busy.
template <class A>
constexpr int side_by_side(int rows) {
  const int wanted = kVectorRegisters / 2 / (rows * kTileVectors<A>);
  return wanted >= 8 ? 8 : wanted >= 4 ? 4 : wanted >= 2 ? 2 : 1;
}

/// The vector at `stored` in the type that it is computed in: of row number `row` of those that are stored
/// together.
template <class W>
inline Vec<accum_t<W>> row_of(const W* stored, int row) {
  if constexpr (std::is_same_v<W, bf16>) {  // bf16 is the upper half of a float
    Vec<std::uint32_t> pairs;
    __builtin_memcpy(&pairs, stored, sizeof pairs);
    const Vec<std::uint32_t> bits = row == 0 ? pairs << 16 : pairs & 0xffff0000u;
    Vec<float> wide;
    __builtin_memcpy(&wide, &bits, sizeof wide);
    return wide;
  } else {
    return load(stored);
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
  constexpr int V = kTileVectors<A>, R = kTogether<W>;
  Vec<A> sum[Rows][Tiles * V];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Tiles * V; ++v) sum[i][v] = Vec<A>{};
  std::int64_t p = 0;
  for (; p + R <= k; p += R) {
    const W* const row = tiles + p * kTile;
    if constexpr (Rows > 2)
      for (int t = 0; t < Tiles; ++t) __builtin_prefetch(row + t * k * kTile + ahead);
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      Vec<A> w[Tiles * V];
#pragma GCC unroll 16
      for (int v = 0; v < Tiles * V; ++v) {
        w[v] = row_of<W>(row + v / V * k * kTile + v % V * R * kLanes<A>, r);
        if constexpr (Rows > 1) hold(w[v]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 16
        for (int v = 0; v < Tiles * V; ++v)
          sum[i][v] += x[i * x_step + p + r] * w[v];  // one fused instruction
    }
  }
  for (; p < k; ++p)
#pragma GCC unroll 16
    for (int v = 0; v < Tiles * V; ++v) {
      const Vec<A> w = load(tiles + (v / V * k + p) * kTile + v % V * kLanes<A>);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) sum[i][v] += x[i * x_step + p] * w;
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

/// pass() for 1 .. kPassRows rows, and for 1, 2, 4 and 8 tiles as far as side_by_side() asks for them.
template <class W, int Tiles, int... I>
constexpr std::array<Pass<W>, sizeof...(I)> passes(std::integer_sequence<int, I...>) {
  return {pass<W, I + 1, std::min(Tiles, side_by_side<accum_t<W>>(I + 1))>...};
}
template <class W>
constexpr std::make_integer_sequence<int, kPassRows<W>> kRowCounts = {};
template <class W>
constexpr std::array<Pass<W>, kPassRows<W>> kPasses[4] = {
    passes<W, 1>(kRowCounts<W>), passes<W, 2>(kRowCounts<W>), passes<W, 4>(kRowCounts<W>),
    passes<W, 8>(kRowCounts<W>)};

}  // namespace

template <class W>
void pack_tiles(Cpu, W* tiles, const accum_t<W>* weight, std::int64_t n, std::int64_t k) {
  for (std::int64_t t = 0; t < tiles_of(n); ++t)
    for (std::int64_t p = 0; p < k; ++p)
      for (std::int64_t c = 0; c < kTile; ++c) {
        const std::int64_t column = t * kTile + c, pair = p / kTogether<W> * kTogether<W>;
        const bool complete = pair + kTogether<W> <= k;
        const std::int64_t at = complete ? pair * kTile + c * kTogether<W> + p - pair : p * kTile + c;
        tiles[t * k * kTile + at] = W(column < n ? weight[column * k + p] : accum_t<W>(0));
      }
}

template <class W>
void tiled_product(Cpu, accum_t<W>* y, std::int64_t y_step, const accum_t<W>* x, std::int64_t x_step,
                   std::int64_t rows, const W* tiles, std::int64_t count, std::int64_t k, bool add) {
  using A = accum_t<W>;
  // Passes of nearly equal height, so that none is left with a single row.
  const std::int64_t blocks = (rows + kPassRows<W> - 1) / kPassRows<W>;
  const int widest = side_by_side<A>(static_cast<int>((rows + blocks - 1) / blocks));
  int level = 3;  // tiles side by side: 1 << level
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
