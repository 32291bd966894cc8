/// @file
/// Retention in one pass: the chunkwise form, forward and backward, and the parallel form. No matrix of
/// scores and no copy of q, k, v goes to memory.
#pragma once

#include "kernels/exec.h"

namespace retnet::kernels {

/// Distance, in elements, between neighbours along batch, head and time; the last dimension is dense.
struct RetentionLayout {
  std::int64_t batch = 0, head = 0, time = 0;
};

/// Sizes, layouts and decays of one call. T is float or double.
template <class T>
struct Retention {
  std::int64_t batch = 0, heads = 0, n = 0, dk = 0, dv = 0;
  std::int64_t chunk = 0;        ///< C >= 1
  RetentionLayout q, k, v, o;    ///< of [B, H, N, dk or dv]
  const T* powers = nullptr;     ///< gamma^0 .. gamma^C [H, C+1], computed in f64 and rounded once
  const T* root_s = nullptr;     ///< sqrt(s_n) [H, N]; null: the scores are not normalised, c = 1
  bool divisor_gradient = true;  ///< false: c is held constant by the gradient
};

/// What a call reads and writes besides o. S [B, H, dk, dv] and z [B, H, dk] are dense.
template <class T>
struct RetentionTensors {
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  const T *S = nullptr, *z = nullptr;  ///< before the first step
};

/// What a call writes; S and z as above.
template <class T>
struct RetentionOutput {
  T* o = nullptr;
  T* row_sums = nullptr;         ///< q_n z_n [B, H, N], kept for the gradient
  T *S = nullptr, *z = nullptr;  ///< after the last step
};

/// Eq. (7). O(N C (dk + dv) + N dk dv) operations per head; a thread's scratch is O(C (C + dk + dv) + dk dv).
template <class T>
void retention(Cpu, const Retention<T>& s, const RetentionTensors<T>& in, const RetentionOutput<T>& out);
/// On a GPU scratch memory is N / C dk dv + N C numbers a head, and twice that for the gradient. C = 128 was
/// the fastest at dk = 256, dv = 512, and 64 or 32 for small models.
template <class T>
void retention(Hip, const Retention<T>& s, const RetentionTensors<T>& in, const RetentionOutput<T>& out);

/// Eq. (5), with Eq. (7)'s term for what came before, as one chunk of N steps: s.chunk = N, so powers are
/// gamma^0 .. gamma^N. O(N^2 (dk + dv)) operations per head, of which blocks of keys whose decays have all
/// become 0 are left out; a thread's scratch does not depend on N.
template <class T>
void retention_parallel(Cpu, const Retention<T>& s, const RetentionTensors<T>& in,
                        const RetentionOutput<T>& out);
/// On a GPU the scores of a strip of queries are in scratch memory: N numbers for each of 8192 queries, all
/// heads together, and for at least 128 of a head.
template <class T>
void retention_parallel(Hip, const Retention<T>& s, const RetentionTensors<T>& in,
                        const RetentionOutput<T>& out);

/// What the gradient is computed from, besides the inputs.
template <class T>
struct RetentionResults {
  const T *o = nullptr, *row_sums = nullptr;  ///< as retention() returned them
  const T* do_ = nullptr;                     ///< gradient of o
  RetentionLayout do_layout;
};

/// Where gradients go.
template <class T>
struct RetentionGradients {
  T *dq = nullptr, *dk = nullptr, *dv = nullptr;
  RetentionLayout q, k, v;
  T *dS = nullptr, *dz = nullptr;  ///< dense; null: not wanted
};

/// dq, dk, dv, dS and dz from do; the final state's own gradient is not part of it. The states between chunks
/// are computed again and kept for the call: N / C dk dv numbers a head.
template <class T>
void retention_grad(Cpu, const Retention<T>& s, const RetentionTensors<T>& in, const RetentionResults<T>& out,
                    const RetentionGradients<T>& to);
template <class T>
void retention_grad(Hip, const Retention<T>& s, const RetentionTensors<T>& in, const RetentionResults<T>& out,
                    const RetentionGradients<T>& to);

/// Distance between neighbours along batch and head of a single step's rows.
struct RetentionStride {
  std::int64_t batch = 0, head = 0;
};

/// One step of the recurrent form for all heads of a batch.
template <class T>
struct RetentionStep {
  std::int64_t batch = 0, heads = 0, dk = 0, dv = 0;
  RetentionStride q, k, v, o;
  const T *q_n = nullptr, *k_n = nullptr, *v_n = nullptr;  ///< [B, H, dk or dv], laid out as above
  const T* gamma = nullptr;                                ///< [H]
  const T* root_s = nullptr;                               ///< sqrt(s_n) [H]; null: c = 1
  const T *S_before = nullptr, *z_before = nullptr;        ///< [B, H, dk, dv] and [B, H, dk], dense
  T* o_n = nullptr;                                        ///< [B, H, dv]; may be v_n
  T *S = nullptr, *z = nullptr;  ///< after the step. S may be S_before; z must not be z_before
};

/// S_n = gamma S_(n-1) + k_n^T v_n and o_n = q_n S_n / c_n, Eq. (6), (R2) and (R4), in one kernel that reads
/// and writes the state once: 3 dk dv multiply-adds a head.
template <class T>
void retention_step(Hip, const RetentionStep<T>& s);

}  // namespace retnet::kernels
