// The tables of one instruction set. This file is compiled with -ffp-contract=fast, so that products and sums
// fuse in the innermost loop, and in portable builds several times. It therefore uses nothing that is inline
// in another namespace: the linker would keep one copy, whose instructions not every machine may have.

#include "kernels/cpu/matmul_isa.h"

#include "kernels/cpu/matmul_micro.h"
#include "kernels/cpu/matmul_pack.h"

namespace retnet::kernels {
inline namespace RETNET_ISA {
namespace {

template <class T, int... I>
constexpr MatmulIsa<T> make_table(std::integer_sequence<int, I...>) {
  using A = accum_t<T>;
  static_assert(vectors((kRows + 1) / 2) == 2, "several bands, none shorter than that, share one width");
  return {{micro_kernel<A, I + 1>...},
          {vectors(I + 1) * kLanes<A>...},
          {column_kernel<T, 1>, column_kernel<T, 2>},
          kColumnRows,
          2 * kLanes<A>,
          kRows,
          8 * kLanes<A>,
          pack_a<T, A>,
          pack_b<T, A>};
}

template <class T>
constexpr MatmulIsa<T> kTable = make_table<T>(std::make_integer_sequence<int, kRows>());

}  // namespace

template <class T>
const MatmulIsa<T>& compiled_isa() {
  return kTable<T>;
}

template const MatmulIsa<float>& compiled_isa<float>();
template const MatmulIsa<double>& compiled_isa<double>();
template const MatmulIsa<bf16>& compiled_isa<bf16>();

}  // namespace RETNET_ISA
}  // namespace retnet::kernels
