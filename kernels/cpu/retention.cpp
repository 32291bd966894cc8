// Chunkwise retention, Eq. (7). Everything between reading q, k, v and writing o stays in a scratch that fits
// the second-level cache. S = state, C' = the length of a chunk.
//
// Where there are enough heads, each is walked from chunk to chunk by one thread. Where there are few, all
// chunks are worked on at once: first what each adds to the state, then the states from chunk to chunk, then
// the outputs. Both ways do the same arithmetic in the same order, to the last bit.
//
// This file is compiled with -ffp-contract=fast, so that products and sums fuse in the innermost loops.

#include "kernels/retention.h"

#include "kernels/cpu/retention_chunk.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// A state: S [dk, dv], and z as one more row.
template <class T>
struct State {
  Packed<T> S;
  std::int64_t dk;

  static std::int64_t size(const Retention<T>& s) { return (s.dk + 1) * step(s); }
  static std::int64_t step(const Retention<T>& s) { return row_step<T>(std::max(s.dk, s.dv)); }
  State(const Retention<T>& s, T* memory) : S{memory, step(s)}, dk(s.dk) {}
  T* z() const { return S.row(dk); }
};

/// Computes with one head of one sequence, chunk by chunk, in the calling thread's scratch.
template <class T>
class Worker {
 public:
  Worker(const Retention<T>& s, const RetentionTensors<T>& in, std::int64_t bh)
      : s_(s),
        in_(in),
        head_(s, bh),
        C_(std::max<std::int64_t>(1, std::min(s.chunk, s.n))),
        scratch_(scratch_size()) {
    q_ = scratch_.take(C_, s.dk), k_columns_ = scratch_.take(s.dk, C_), k_decayed_ = scratch_.take(C_, s.dk);
    v_ = scratch_.take(C_, s.dv), scores_ = scratch_.take(C_, C_);
    row_sums_ = scratch_.take(1, C_).at, scale_ = scratch_.take(1, C_).at;
    decays_ = DecayRow<T>(head_.powers, C_, scratch_.take(1, DecayRow<T>::size(C_)).at);
    state_ = scratch_.take(s.dk + 1, std::max(s.dk, s.dv)).at;
  }

  State<T> own_state() const { return {s_, state_}; }

  void read_state(State<T> state) const {
    pack_rows(state.S, S(), s_.dv, s_.dk, s_.dv);
    pack_rows(Packed<T>{state.z(), 0}, in_.z + head_.index * s_.dk, s_.dk, 1, s_.dk);
  }

  void write_state(State<T> state, T* S, T* z) const {
    for (std::int64_t d = 0; d < s_.dk; ++d)
      std::copy_n(state.S.row(d), s_.dv, S + (head_.index * s_.dk + d) * s_.dv);
    std::copy_n(state.z(), s_.dk, z + head_.index * s_.dk);
  }

  void read_values(std::int64_t first) {
    pack_rows(v_, head_.row(in_.v, s_.v, first), s_.v.time, length(first), s_.dv);
  }

  /// Of the chunk that follows.
  void prefetch(std::int64_t first, const T* o) const {
    if (first >= s_.n) return;
    const std::int64_t n = length(first);
    prefetch_rows(head_.row(in_.q, s_.q, first), s_.q.time, n, s_.dk);
    prefetch_rows(head_.row(in_.k, s_.k, first), s_.k.time, n, s_.dk);
    prefetch_rows(head_.row(in_.v, s_.v, first), s_.v.time, n, s_.dv);
    prefetch_rows(head_.row(o, s_.o, first), s_.o.time, n, s_.dv);
  }

  /// Eq. (7): o_i = (gamma^(i+1) q_i S + (Q K^T . D)_i V) / c_i, after read_values().
  void write_outputs(std::int64_t first, State<T> state, T* o, T* row_sums) {
    const std::int64_t n = length(first);
    const bool no_state = first == 0 && std::all_of(S(), S() + s_.dk * s_.dv, [](T x) { return x == 0; });
    pack_rows(q_, head_.row(in_.q, s_.q, first), s_.q.time, n, s_.dk);
    pack_columns(k_columns_, head_.row(in_.k, s_.k, first), s_.k.time, n, s_.dk);
    multiply_decayed<T>(n, n, 0, {q_.at, q_.step, 1, k_columns_.at, k_columns_.step, s_.dk},
                        decays_.diagonal(), scores_.at, scores_.step);
    sum_rows(n, n, 0, scores_, s_.dk, q_, head_.from_state, state.z(), row_sums_);
    std::copy_n(row_sums_, n, row_sums + head_.index * s_.n + first);
    if (s_.root_s)
      for (std::int64_t i = 0; i < n; ++i)
        scale_[i] = T(1) / divisor(row_sums_[i], s_.root_s[head_.h * s_.n + first + i]);
    multiply<T>(n, s_.dv, {q_.at, q_.step, 1, state.S.at, state.S.step, no_state ? 0 : s_.dk},
                {scores_.at, scores_.step, 1, v_.at, v_.step, n}, Reach::past,
                {head_.from_state, s_.root_s ? scale_ : nullptr}, head_.row(o, s_.o, first), s_.o.time);
  }

  /// to = sum of gamma^(C'-1-i) k_i^T v_i + gamma^C' before, after read_values(); `before` may be `to`, or
  /// null.
  void add_chunk(std::int64_t first, const State<T>* before, State<T> to) {
    const std::int64_t n = length(first);
    const T keep = whole_decay(s_, head_.index, first);
    pack_rows(k_decayed_, head_.row(in_.k, s_.k, first), s_.k.time, n, s_.dk, decays_.to_state(n));
    multiply<T>(s_.dk, whole_panels<T>(s_.dv), {}, {k_decayed_.at, 1, k_decayed_.step, v_.at, v_.step, n},
                Reach::all, {nullptr, nullptr, before ? before->S.at : nullptr, keep}, to.S.at, to.S.step);
    sum_keys(n, s_.dk, k_decayed_, keep, before ? before->z() : nullptr, to.z());
  }

 private:
  const T* S() const { return in_.S + head_.index * s_.dk * s_.dv; }
  std::int64_t length(std::int64_t first) const { return std::min(s_.chunk, s_.n - first); }
  std::int64_t scratch_size() const {
    const auto of = Scratch<T>::size_of;
    return 2 * of(C_, s_.dk) + of(s_.dk, C_) + of(C_, s_.dv) + of(C_, C_) + 2 * of(1, C_) +
           of(1, DecayRow<T>::size(C_)) + of(s_.dk + 1, std::max(s_.dk, s_.dv));
  }

  const Retention<T>& s_;
  const RetentionTensors<T>& in_;
  Head<T> head_;
  std::int64_t C_;
  Scratch<T> scratch_;
  Packed<T> q_, k_columns_, k_decayed_, v_, scores_;
  T *row_sums_, *scale_, *state_;
  DecayRow<T> decays_;
};

template <class T>
void walk_head(const Retention<T>& s, const RetentionTensors<T>& in, std::int64_t bh,
               const RetentionOutput<T>& out) {
  Worker<T> worker(s, in, bh);
  const State<T> state = worker.own_state();
  worker.read_state(state);
  for (std::int64_t first = 0; first < s.n; first += s.chunk) {
    worker.prefetch(first + s.chunk, out.o);
    worker.read_values(first);
    worker.write_outputs(first, state, out.o, out.row_sums);
    worker.add_chunk(first, &state, state);
  }
  worker.write_state(state, out.S, out.z);
}

/// All heads at once, a group of chunks at a time, so that memory does not grow with the length.
template <class T>
void walk_groups(const Retention<T>& s, const RetentionTensors<T>& in, const RetentionOutput<T>& out) {
  constexpr std::int64_t kGroup = 32;
  const std::int64_t heads = s.batch * s.heads, chunks = (s.n + s.chunk - 1) / s.chunk;
  const std::int64_t group = std::min(kGroup, chunks), work = s.chunk * (s.dk + s.dv) * s.chunk;
  Lines<T> memory(heads * (group + 1) * State<T>::size(s));
  // Of a group of n chunks, state 0 is the one before it, and state i + 1 belongs to chunk i.
  const auto state = [&](std::int64_t bh, std::int64_t i) {
    return State<T>(s, memory.data() + (bh * (group + 1) + i) * State<T>::size(s));
  };
  for (std::int64_t bh = 0; bh < heads; ++bh) Worker<T>(s, in, bh).read_state(state(bh, 0));
  for (std::int64_t begin = 0; begin < chunks; begin += group) {
    const std::int64_t n = std::min(group, chunks - begin);
    const auto first = [&](std::int64_t i) { return (begin + i) * s.chunk; };
    parallel_for(heads * n, work, [&](std::int64_t index) {  // what each chunk adds
      Worker<T> worker(s, in, index / n);
      worker.read_values(first(index % n));
      worker.add_chunk(first(index % n), nullptr, state(index / n, index % n + 1));
    });
    parallel_for(heads * (s.dk + 1), n * s.dv, [&](std::int64_t index) {  // the state after each
      const std::int64_t bh = index / (s.dk + 1), row = index % (s.dk + 1);
      for (std::int64_t i = 0; i < n; ++i)
        add_kept<T>(1, row < s.dk ? s.dv : s.dk, whole_decay(s, bh, first(i)), {state(bh, i).S.row(row), 0},
                    {state(bh, i + 1).S.row(row), 0});
    });
    parallel_for(heads * n, work, [&](std::int64_t index) {
      Worker<T> worker(s, in, index / n);
      worker.read_values(first(index % n));
      worker.write_outputs(first(index % n), state(index / n, index % n), out.o, out.row_sums);
    });
    for (std::int64_t bh = 0; bh < heads; ++bh)
      std::copy_n(state(bh, n).S.at, State<T>::size(s), state(bh, 0).S.at);
  }
  for (std::int64_t bh = 0; bh < heads; ++bh) Worker<T>(s, in, bh).write_state(state(bh, 0), out.S, out.z);
}

}  // namespace

template <class T>
void retention(Cpu, const Retention<T>& s, const RetentionTensors<T>& in, const RetentionOutput<T>& out) {
  const std::int64_t heads = s.batch * s.heads;
  if (heads < kFewHeads && s.n > s.chunk) return walk_groups(s, in, out);
  parallel_for(heads, s.n * (s.dk + s.dv) * std::min(s.chunk, s.n),
               [&](std::int64_t bh) { walk_head(s, in, bh, out); });
}

template void retention<float>(Cpu, const Retention<float>&, const RetentionTensors<float>&,
                               const RetentionOutput<float>&);
template void retention<double>(Cpu, const Retention<double>&, const RetentionTensors<double>&,
                                const RetentionOutput<double>&);

}  // namespace retnet::kernels
