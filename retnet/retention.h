/// @file
/// Retention in its three forms: parallel, recurrent and chunkwise. They compute the same function.
///
/// Sizes: B batch, N length, H heads, dk and dv key and value width of a head, C chunk length.
/// Queries and keys come already rotated by their absolute positions (rotate_positions()), keys already
/// divided by sqrt(dk). Every form takes a RetentionState and returns the one after its last step, so a
/// sequence may be cut anywhere and each piece run in any form. B and N may be 0: after no steps the state is
/// that before.
#pragma once

#include <vector>

#include "autograd/variable.h"
#include "retnet/config.h"
#include "retnet/decay.h"
#include "tensor/ops.h"

namespace retnet {

/// All that later steps need to know of earlier ones. Its size does not depend on how many there were.
struct RetentionState {
  Variable S;             ///< sum of gamma^(n-m) k_m^T v_m: [B, H, dk, dv], @eq{6}
  Variable z;             ///< sum of gamma^(n-m) k_m: [B, H, dk], @eq{R2}
  std::vector<double> s;  ///< sum of gamma^(n-m) per head: H numbers, @eq{R3}
  std::int64_t pos = 0;   ///< steps so far: the absolute position of the next one
};

/// The state before the first step: all zeros.
RetentionState initial_state(std::int64_t batch, std::int64_t heads, std::int64_t dk, std::int64_t dv,
                             Dtype dtype = Dtype::f32, Device device = Device::cpu);

/// Outputs of a piece of the sequence and the state after it.
struct Retained {
  Variable o;            ///< [B, H, N, dv]
  RetentionState state;  ///< after the last of the N steps
};

/// How every form computes.
struct RetentionOptions {
  std::vector<double> gamma;                ///< decay per head and step, H numbers in (0, 1]
  ScoreNorm score_norm = ScoreNorm::paper;  ///< the divisor c, @eq{R4}
  bool score_norm_gradient = true;          ///< false: c is held constant by the gradient
  bool reference = false;                   ///< true: retention() runs the composed forms, not the fused ones
};

/// The names of the forms, for options and messages.
enum class Form { parallel, recurrent, chunkwise };

/// Parallel form, @eq{5}: o = ((Q K^T . D) V) / c, with @eq{7}'s term for what came before the first step.
///
/// The composed form, which is the specification: O(N^2 (dk + dv)) time and O(N^2) memory per head. Gradient:
/// @eq{G10}, and of the divisor @eq{G13}.
/// @param q      queries: [B, H, N, dk]
/// @param k      keys: [B, H, N, dk]
/// @param v      values: [B, H, N, dv]
/// @param state  before the first step
/// @throws Error if ranks, sizes or dtypes disagree, or gamma does not have H numbers
Retained retention_parallel(const Variable& q, const Variable& k, const Variable& v,
                            const RetentionState& state, const RetentionOptions& options);

/// Recurrent form, @eq{6}: S_n = gamma S_(n-1) + k_n^T v_n and o_n = q_n S_n / c_n, step by step.
///
/// For decoding: O(N dk dv) time and O(dk dv) memory per head. Gradient: @eq{G11}. Arguments as
/// retention_parallel().
Retained retention_recurrent(const Variable& q, const Variable& k, const Variable& v,
                             const RetentionState& state, const RetentionOptions& options);

/// Chunkwise form, @eq{7}: parallel within chunks of C steps, recurrent from chunk to chunk. C need not
/// divide N.
///
/// For training on long windows and for reading prompts: O(N C (dk + dv) + N dk dv) time per head.
/// Gradient: @eq{G12}.
/// @param chunk  C >= 1; the other arguments as retention_parallel()
Retained retention_chunkwise(const Variable& q, const Variable& k, const Variable& v,
                             const RetentionState& state, const RetentionOptions& options,
                             std::int64_t chunk);

/// The chunkwise form as one operation with a gradient of its own, equal to retention_chunkwise() and several
/// times as fast: no matrix between the chunks' steps, and no copy of q, k and v, goes to memory. f32 and
/// f64.
Retained retention_fused(const Variable& q, const Variable& k, const Variable& v, const RetentionState& state,
                         const RetentionOptions& options, std::int64_t chunk);

/// The parallel form as one operation, equal to retention_parallel(): O(N^2 (dk + dv)) time, but memory for
/// one block of scores only. Its gradient is that of the chunkwise form, which is the same function, in time
/// linear in N. f32 and f64.
Retained retention_tiled(const Variable& q, const Variable& k, const Variable& v, const RetentionState& state,
                         const RetentionOptions& options);

/// The form chosen by a value; `chunk` matters to the chunkwise one only. The parallel and the chunkwise form
/// run fused unless options.reference.
Retained retention(Form form, const Variable& q, const Variable& k, const Variable& v,
                   const RetentionState& state, const RetentionOptions& options, std::int64_t chunk);

namespace detail {

/// What all three forms check before they start. @throws Error in the name of `op`
void check_retention(const char* op, const Variable& q, const Variable& k, const Variable& v,
                     const RetentionState& state, const RetentionOptions& options);

/// sqrt(s_n) of @eq{R4}: [H, N, 1]; undefined when there is no score norm.
/// @param s  s_n per head: [H][N]
Tensor root_of(const std::vector<std::vector<double>>& s, const RetentionOptions& options, Dtype dtype,
               Device device);

/// s_n per head after the last step; where there is none, that before the first.
/// @param s  s_n per head: [H][N]
std::vector<double> last_sums(const std::vector<std::vector<double>>& s, const std::vector<double>& before);

/// c of @eq{R4}, or no variable when there is no score norm.
/// @param row_sums  q_n z_n: [B, H, N, 1]
/// @param s         s_n per head: [H][N]
Variable score_divisor(const Variable& row_sums, const std::vector<std::vector<double>>& s,
                       const RetentionOptions& options);

/// The state after k and v as a function of them and of the state before, from what the fused operation
/// computed; its `s` is left empty.
RetentionState final_state(const Variable& k, const Variable& v, const RetentionState& state,
                           const RetentionOptions& options, const RetentionOutputs& out);

/// One piece of N steps in the parallel form, after the state `prev`: all of @eq{5} and @eq{7}.
/// @param decay  decay_tables(options.gamma, N), made once for all pieces of that length
Retained retention_piece(const Variable& q, const Variable& k, const Variable& v, const RetentionState& prev,
                         const DecayTables& decay, const RetentionOptions& options);

}  // namespace detail

}  // namespace retnet
