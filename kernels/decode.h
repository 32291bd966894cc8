/// @file
/// What a decoder computes for one token: products with packed weights, and one step of the recurrent form.
///
/// These run inside a parallel region of the caller: each call is a share of the work, on the calling thread.
#pragma once

#include "kernels/bf16.h"
#include "kernels/exec.h"

namespace retnet::kernels {

/// Output columns that one tile of packed weights holds.
inline constexpr std::int64_t kTile = 16;

/// Tiles that n columns take; the last one is filled up with zeros.
constexpr std::int64_t tiles_of(std::int64_t n) { return (n + kTile - 1) / kTile; }

/// n rounded up to whole tiles: the length of a row that tiled_product() writes.
constexpr std::int64_t padded(std::int64_t n) { return tiles_of(n) * kTile; }

/// Packs the weight [n, k] of y = x W^T into tiles_of(n) tiles of k x kTile elements, in the order in which a
/// product reads them. bf16 tiles are rounded from float, once.
/// @tparam W float, double or bf16, what is stored;  T = accum_t<W>
template <class W>
void pack_tiles(Cpu, W* tiles, const accum_t<W>* weight, std::int64_t n, std::int64_t k);

/// y = x W^T, or y += x W^T if `add`, for the columns of `count` neighbouring tiles.
///
/// The weights pass once, whatever the number of rows up to a few, and each element of y is one chain of
/// additions in order of k: its bits do not depend on the rows and tiles beside it.
/// @param y  [rows, count * kTile], rows y_step apart
/// @param x  [rows, k], rows x_step apart
template <class W>
void tiled_product(Cpu, accum_t<W>* y, std::int64_t y_step, const accum_t<W>* x, std::int64_t x_step,
                   std::int64_t rows, const W* tiles, std::int64_t count, std::int64_t k, bool add);

/// One step of one head for one sequence, @eq{6}, @eq{R2} and @eq{R4}; the state is read and written once.
/// Whatever is padded must be zero beyond its width.
/// @param o       q_n S_n / c_n: [padded(dv)]; may be v
/// @param S       in tiles of columns, [tiles_of(dv), dk, kTile]: S_(n-1) becomes S_n = gamma S_(n-1) + k^T v
/// @param z       [padded(dk)]: z_(n-1) becomes z_n = gamma z_(n-1) + k
/// @param q       rotated: [padded(dk)]
/// @param k       rotated, and divided by sqrt(dk): [padded(dk)]
/// @param v       [padded(dv)]
/// @param root_s  sqrt(s_n); 0 leaves the scores as they are, c_n = 1
/// @tparam A float or double
template <class A>
void retention_step(Cpu, A* o, A* S, A* z, const A* q, const A* k, const A* v, std::int64_t dk,
                    std::int64_t dv, A gamma, A root_s);

}  // namespace retnet::kernels
