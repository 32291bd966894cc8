// The gradient of chunkwise retention, derived in docs/chunkwise.md: the states before the chunks are
// computed again; then come the gradients of the states, from the last chunk to the first, and with both at
// hand those of q, k and v, chunk by chunk. U = o before its division by c, d = gradient, S = state, A = the
// scores under the mask, C' = the length of a chunk.
//
// The row sums are what V would give in one more column, of ones; so z is one more row of S^T, and the
// gradient dr of the row sums one more column of dU. Here they are stored that way: V1 = [V | 1], dU1 = [dU |
// dr], S1 = [S | z]^T.
//
// This file is compiled with -ffp-contract=fast, so that products and sums fuse in the innermost loops.

#include "kernels/cpu/retention_chunk.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// Everything a call is given.
template <class T>
struct Call {
  const Retention<T>& s;
  const RetentionTensors<T>& in;
  const RetentionResults<T>& out;
  const RetentionGradients<T>& to;

  std::int64_t chunks() const { return (s.n + s.chunk - 1) / s.chunk; }
  std::int64_t length(std::int64_t first) const { return std::min(s.chunk, s.n - first); }
  std::int64_t state_size() const { return (s.dv + 1) * row_step<T>(s.dk); }
};

/// The sum over a row of x y, in the lanes of a vector.
template <class T>
Vec<T> dot_in_lanes(std::int64_t n, const T* x, const T* y) {
  Vec<T> sum = {};
  for (std::int64_t j = 0; j < n; j += kLanes<T>) sum += load_first(x + j, n - j) * load_first(y + j, n - j);
  return sum;
}

/// Computes with one head of one sequence, chunk by chunk, in the calling thread's scratch.
template <class T>
class Worker {
 public:
  /// @param more  elements of scratch for memory()
  Worker(const Call<T>& call, std::int64_t bh, std::int64_t more = 0)
      : call_(call),
        s_(call.s),
        head_(s_, bh),
        C_(std::min(s_.chunk, s_.n)),
        scratch_(scratch_size() + more) {
    const std::int64_t dk = s_.dk, dv = s_.dv;
    q_ = scratch_.take(C_, dk), k_ = scratch_.take(C_, dk), decayed_ = scratch_.take(C_, dk);
    k_columns_ = scratch_.take(dk, C_);
    v1_ = scratch_.take(C_, dv + 1), dU1_ = scratch_.take(C_, dv + 1),
    v1_columns_ = scratch_.take(dv + 1, C_);
    A_ = scratch_.take(C_, C_), dA_ = scratch_.take(C_, C_);
    dS_ = scratch_.take(dk, dv);
    decays_ = DecayRow<T>(head_.powers, C_, scratch_.take(1, DecayRow<T>::size(C_)).at);
    memory_ = scratch_.take(0, 1).at;
  }
  T* memory() const { return memory_; }

  void prefetch_keys(std::int64_t first) const {
    prefetch_rows(head_.row(call_.in.k, s_.k, first), s_.k.time, call_.length(first), s_.dk);
    prefetch_rows(head_.row(call_.in.v, s_.v, first), s_.v.time, call_.length(first), s_.dv);
  }

  void prefetch(std::int64_t first) const {
    const auto rows = [&](const T* x, const RetentionLayout& l, std::int64_t columns) {
      prefetch_rows(head_.row(x, l, first), l.time, call_.length(first), columns);
    };
    prefetch_keys(first);
    rows(call_.in.q, s_.q, s_.dk), rows(call_.out.o, s_.o, s_.dv),
        rows(call_.out.do_, call_.out.do_layout, s_.dv);
    rows(call_.to.dq, call_.to.q, s_.dk), rows(call_.to.dk, call_.to.k, s_.dk),
        rows(call_.to.dv, call_.to.v, s_.dv);
  }

  /// S1 before the first chunk. Returns whether anything of it is not 0.
  bool read_state(Packed<T> S1) const {
    const std::int64_t dk = s_.dk, dv = s_.dv;
    const T *S = call_.in.S + head_.index * dk * dv, *z = call_.in.z + head_.index * dk;
    pack_columns(S1, S, dv, dk, dv);
    pack_rows(Packed<T>{S1.row(dv), 0}, z, dk, 1, dk);
    const auto is_zero = [](T x) { return x == 0; };
    return !(std::all_of(S, S + dk * dv, is_zero) && std::all_of(z, z + dk, is_zero));
  }

  /// Eq. (7): to = sum of gamma^(C'-1-i) v1_i^T k_i + gamma^C' before; null: nothing before.
  void add_chunk(std::int64_t first, const T* before, Packed<T> to) {
    const std::int64_t n = call_.length(first);
    read_values(first);
    pack_rows(decayed_, head_.row(call_.in.k, s_.k, first), s_.k.time, n, s_.dk, decays_.to_state(n));
    add_outer_products(n, v1_, head_.powers[n], before, to);
  }

  /// Eq. (G12): to = sum of gamma^(i+1) dU1_i^T q_i + gamma^C' after; null: nothing after. Needs
  /// read_outputs().
  void add_gradient(std::int64_t first, const T* after, Packed<T> to) {
    const std::int64_t n = call_.length(first);
    pack_rows(decayed_, head_.row(call_.in.q, s_.q, first), s_.q.time, n, s_.dk, head_.from_state);
    add_outer_products(n, dU1_, head_.powers[n], after, to);
  }

  /// Eq. (G13): dU = do / c and, when c is differentiated, the gradient of the row sums, from o = U / c:
  /// dc = -sum(do o) / c, which reaches q_i z_i where it, and not sqrt(s_i), was the larger.
  void read_outputs(std::int64_t first) {
    constexpr std::int64_t L = kLanes<T>;
    const std::int64_t n = call_.length(first), dv = s_.dv;
    const T* const root_s = s_.root_s ? s_.root_s + head_.h * s_.n + first : nullptr;
    const T* const row_sums = call_.out.row_sums + head_.index * s_.n + first;
    const bool differentiate = root_s && s_.divisor_gradient;
    for (std::int64_t block = 0; block < n; block += L) {
      const std::int64_t end = std::min(n, block + L);
      Vec<T> dots[L] = {};
      for (std::int64_t i = block; i < end; ++i) {
        const T* const d_o = head_.row(call_.out.do_, call_.out.do_layout, first + i);
        const T scale = root_s ? T(1) / divisor(row_sums[i], root_s[i]) : T(1);
        for (std::int64_t e = 0; e < whole_panels<T>(dv); e += L)
          store<T>(dU1_.row(i) + e, scale * load_first(d_o + e, dv - e));
        if (differentiate)
          dots[i - block] = -scale * dot_in_lanes(dv, d_o, head_.row(call_.out.o, s_.o, first + i));
      }
      T dc[L];
      store<T>(dc, horizontal_sums<T>(dots));
      for (std::int64_t i = block; i < end; ++i) {
        const T r = row_sums[i], dc_i = dc[i - block];
        dU1_.row(i)[dv] = !differentiate || std::abs(r) < root_s[i] ? T(0)
                          : r > 0                                   ? dc_i
                          : r < 0                                   ? -dc_i
                                                                    : T(0) * dc_i;
      }
    }
  }

  /// Eq. (G10) within the chunk and Eq. (G12) across its borders, after read_outputs().
  /// @param S1, dS1  before the chunk, and the gradient of what is after it; null: 0
  void write_gradients(std::int64_t first, const T* S1, const T* dS1) {
    const std::int64_t n = call_.length(first), dk = s_.dk, dv = s_.dv, step = row_step<T>(dk);
    const RetentionGradients<T>& to = call_.to;
    read_inputs(first);
    // A = Q K^T . D and dA = (dU V^T + dr 1^T) . D
    multiply_decayed<T>(n, n, 0, {q_.at, q_.step, 1, k_columns_.at, k_columns_.step, dk}, decays_.diagonal(),
                        A_.at, A_.step);
    multiply_decayed<T>(n, n, 0, {dU1_.at, dU1_.step, 1, v1_columns_.at, v1_columns_.step, dv + 1},
                        decays_.diagonal(), dA_.at, dA_.step);
    // dQ = gamma^(i+1) (dU S^T + dr z^T) + dA K
    multiply<T>(n, dk, {dU1_.at, dU1_.step, 1, S1, step, S1 ? dv + 1 : 0},
                {dA_.at, dA_.step, 1, k_.at, k_.step, n}, Reach::past, {head_.from_state},
                head_.row(to.dq, to.q, first), to.q.time);
    // dK = gamma^(C'-1-i) (V dS^T + 1 dz^T) + dA^T Q
    multiply<T>(n, dk, {v1_.at, v1_.step, 1, dS1, step, dS1 ? dv + 1 : 0},
                {dA_.at, 1, dA_.step, q_.at, q_.step, n}, Reach::future, {decays_.to_state(n)},
                head_.row(to.dk, to.k, first), to.k.time);
    // dV = gamma^(C'-1-i) k_i dS + A^T dU
    if (dS1) pack_columns(dS_, dS1, step, dv, dk);
    multiply<T>(n, dv, {k_.at, k_.step, 1, dS_.at, dS_.step, dS1 ? dk : 0},
                {A_.at, 1, A_.step, dU1_.at, dU1_.step, n}, Reach::future, {decays_.to_state(n)},
                head_.row(to.dv, to.v, first), to.v.time);
  }

  void write_state_gradient(Packed<T> dS1) const {
    copy_transposed(call_.to.dS + head_.index * s_.dk * s_.dv, s_.dv, dS1.at, dS1.step, s_.dk, s_.dv);
    std::copy_n(dS1.row(s_.dv), s_.dk, call_.to.dz + head_.index * s_.dk);
  }

 private:
  /// to[e, :] = sum over the chunk of x[i, e] decayed[i, :] + keep previous[e, :].
  void add_outer_products(std::int64_t n, Packed<T> x, T keep, const T* previous, Packed<T> to) {
    multiply<T>(s_.dv + 1, whole_panels<T>(s_.dk), {}, {x.at, 1, x.step, decayed_.at, decayed_.step, n},
                Reach::all, {nullptr, nullptr, previous, keep}, to.at, to.step);
  }

  void read_values(std::int64_t first) {
    const std::int64_t n = call_.length(first);
    pack_rows(v1_, head_.row(call_.in.v, s_.v, first), s_.v.time, n, s_.dv);
    for (std::int64_t i = 0; i < n; ++i) v1_.row(i)[s_.dv] = T(1);
  }

  void read_inputs(std::int64_t first) {
    const std::int64_t n = call_.length(first);
    pack_rows(q_, head_.row(call_.in.q, s_.q, first), s_.q.time, n, s_.dk);
    pack_rows(k_, head_.row(call_.in.k, s_.k, first), s_.k.time, n, s_.dk);
    read_values(first);
    pack_columns(k_columns_, k_.at, k_.step, n, s_.dk);
    pack_columns(v1_columns_, v1_.at, v1_.step, n, s_.dv + 1);
  }

  std::int64_t scratch_size() const {
    const auto of = Scratch<T>::size_of;
    return 3 * of(C_, s_.dk) + of(s_.dk, C_) + 2 * of(C_, s_.dv + 1) + of(s_.dv + 1, C_) + 2 * of(C_, C_) +
           of(s_.dk, s_.dv) + of(1, DecayRow<T>::size(C_));
  }

  const Call<T>& call_;
  const Retention<T>& s_;
  Head<T> head_;
  std::int64_t C_;
  Scratch<T> scratch_;
  Packed<T> q_, k_, k_columns_, v1_, v1_columns_, dU1_, A_, dA_;
  Packed<T> decayed_;  ///< gamma^(C'-1-i) k_i or gamma^(i+1) q_i
  Packed<T> dS_;       ///< [dk, dv], from dS1
  DecayRow<T> decays_;
  T* memory_;
};

/// One head on one thread. The gradient of the state passes through two matrices in turn.
template <class T>
void walk_head(const Call<T>& call, std::int64_t bh) {
  const std::int64_t chunks = call.chunks(), size = call.state_size(), step = row_step<T>(call.s.dk);
  Worker<T> worker(call, bh, (chunks + 2) * size);
  const auto state = [&](std::int64_t i) { return Packed<T>{worker.memory() + i * size, step}; };
  const bool given = worker.read_state(state(0));
  for (std::int64_t c = 0; c + 1 < chunks; ++c) {
    worker.prefetch_keys((c + 1) * call.s.chunk);
    worker.add_chunk(c * call.s.chunk, state(c).at, state(c + 1));
  }
  Packed<T> after{nullptr, step};
  for (std::int64_t c = chunks - 1; c >= 0; --c) {
    const std::int64_t first = c * call.s.chunk;
    if (c > 0) worker.prefetch(first - call.s.chunk);
    worker.read_outputs(first);
    worker.write_gradients(first, c > 0 || given ? state(c).at : nullptr, after.at);
    if (c == 0 && !call.to.dS) return;
    const Packed<T> before = state(chunks + c % 2);
    worker.add_gradient(first, after.at, before);
    after = before;
  }
  worker.write_state_gradient(after);
}

/// All chunks of all heads at once: the arithmetic of walk_head() in the same order.
template <class T>
void walk_chunks(const Call<T>& call) {
  const Retention<T>& s = call.s;
  const std::int64_t heads = s.batch * s.heads, chunks = call.chunks(), size = call.state_size();
  const std::int64_t step = row_step<T>(s.dk), work = s.chunk * (s.dk + s.dv) * s.chunk;
  // State c is the one before chunk c, and gradient c that of the same state.
  Lines<T> states(heads * chunks * size), gradients(heads * chunks * size);
  const auto at = [&](Lines<T>& x, std::int64_t bh, std::int64_t c) {
    return Packed<T>{x.data() + (bh * chunks + c) * size, step};
  };
  parallel_for(heads * chunks, work, [&](std::int64_t index) {
    const std::int64_t bh = index / chunks, c = index % chunks, first = c * s.chunk;
    Worker<T> worker(call, bh);
    if (c == 0) worker.read_state(at(states, bh, 0));
    if (c + 1 < chunks) worker.add_chunk(first, nullptr, at(states, bh, c + 1));
    if (c == 0 && !call.to.dS) return;
    worker.read_outputs(first);
    worker.add_gradient(first, nullptr, at(gradients, bh, c));
  });
  parallel_for(heads * (s.dv + 1), chunks * s.dk, [&](std::int64_t index) {
    const std::int64_t bh = index / (s.dv + 1), row = index % (s.dv + 1);
    const auto row_of = [&](Lines<T>& x, std::int64_t c) { return Packed<T>{at(x, bh, c).row(row), step}; };
    for (std::int64_t c = 1; c < chunks; ++c)
      add_kept(1, s.dk, whole_decay(s, bh, (c - 1) * s.chunk), row_of(states, c - 1), row_of(states, c));
    for (std::int64_t c = chunks - 2; c >= (call.to.dS ? 0 : 1); --c)
      add_kept(1, s.dk, whole_decay(s, bh, c * s.chunk), row_of(gradients, c + 1), row_of(gradients, c));
  });
  parallel_for(heads * chunks, 2 * work, [&](std::int64_t index) {
    const std::int64_t bh = index / chunks, c = index % chunks, first = c * s.chunk;
    Worker<T> worker(call, bh);
    const bool given = c > 0 || worker.read_state(at(states, bh, 0));
    worker.read_outputs(first);
    worker.write_gradients(first, given ? at(states, bh, c).at : nullptr,
                           c + 1 < chunks ? at(gradients, bh, c + 1).at : nullptr);
    if (c == 0 && call.to.dS) worker.write_state_gradient(at(gradients, bh, 0));
  });
}

}  // namespace

template <class T>
void retention_grad(Cpu, const Retention<T>& s, const RetentionTensors<T>& in, const RetentionResults<T>& out,
                    const RetentionGradients<T>& to) {
  const std::int64_t heads = s.batch * s.heads;
  if (s.n == 0) {
    if (to.dS) std::fill_n(to.dS, heads * s.dk * s.dv, T(0)), std::fill_n(to.dz, heads * s.dk, T(0));
    return;
  }
  const Call<T> call{s, in, out, to};
  if (heads < kFewHeads && s.n > s.chunk) return walk_chunks(call);
  parallel_for(heads, 3 * s.n * (s.dk + s.dv) * std::min(s.chunk, s.n),
               [&](std::int64_t bh) { walk_head(call, bh); });
}

template void retention_grad<float>(Cpu, const Retention<float>&, const RetentionTensors<float>&,
                                    const RetentionResults<float>&, const RetentionGradients<float>&);
template void retention_grad<double>(Cpu, const Retention<double>&, const RetentionTensors<double>&,
                                     const RetentionResults<double>&, const RetentionGradients<double>&);

}  // namespace retnet::kernels
