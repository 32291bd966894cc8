/// @file
/// Chunkwise retention in one pass, forward and backward: Eq. (7) without a matrix or a copy of q, k, v in
/// memory.
#pragma once

#include "kernels/exec.h"

namespace retnet::kernels {

/// Distance, in elements, between neighbours along batch, head and time; the last dimension is dense.
struct RetentionLayout {
  std::int64_t batch = 0, head = 0, time = 0;
};

/// Sizes, layouts and decays of one call. T is float or double.
///
/// The decays come as tables for a whole chunk, computed in f64 and rounded once. A last chunk of C' < C
/// steps reads their first C' rows, and of `to_state` the last C'.
template <class T>
struct Retention {
  std::int64_t batch = 0, heads = 0, n = 0, dk = 0, dv = 0;
  std::int64_t chunk = 0;         ///< C >= 1
  RetentionLayout q, k, v, o;     ///< of [B, H, N, dk or dv]; gradients have the layout of their tensor
  const T* mask = nullptr;        ///< D [H, C, C]
  const T* from_state = nullptr;  ///< gamma^(i+1) [H, C]
  const T* to_state = nullptr;    ///< gamma^(C-1-i) [H, C]
  const T* root_s = nullptr;      ///< sqrt(s_n) [H, N]; null: the scores are not normalised, c = 1
  bool divisor_gradient = true;   ///< false: c is held constant by the gradient
};

/// What a call reads and writes besides o. S [B, H, dk, dv] and z [B, H, dk] are dense.
template <class T>
struct RetentionTensors {
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  const T *S = nullptr, *z = nullptr;  ///< before the first step
};

/// o, the row sums q_n z_n [B, H, N] (kept for the gradient), and the state after the last step.
/// O(N C (dk + dv) + N dk dv) operations per head; a thread's scratch is O(C (C + dk + dv) + dk dv).
template <class T>
void retention(Cpu, const Retention<T>& s, const RetentionTensors<T>& in, T* o, T* row_sums, T* S_next,
               T* z_next);

/// dq, dk, dv, dS and dz from do, given what retention() read and returned; the final state's own gradient is
/// not part of it. The states between chunks are computed again and kept in the thread's scratch: N / C dk dv
/// numbers.
template <class T>
void retention_grad(Cpu, const Retention<T>& s, const RetentionTensors<T>& in, const T* o, const T* row_sums,
                    const T* do_, const RetentionLayout& do_layout, T* dq, T* dk, T* dv, T* dS, T* dz);

}  // namespace retnet::kernels
