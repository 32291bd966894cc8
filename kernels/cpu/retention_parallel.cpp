// The parallel form, Eq. (5), without its N x N matrix: a block of queries walks over blocks of keys, from
// the first to its own, and adds up outputs and row sums; only one block of scores exists at a time.
//
// This file is compiled with -ffp-contract=fast, so that products and sums fuse in the innermost loops.

#include "kernels/cpu/retention_chunk.h"
#include "kernels/parallel.h"

namespace retnet::kernels {
namespace {

/// Rows of a block. Many queries share the packing of a block of keys and values.
constexpr std::int64_t kQueries = 128, kKeys = 64;

/// Computes with one head of one sequence, in the calling thread's scratch.
template <class T>
class Blocks {
 public:
  Blocks(const Retention<T>& s, const RetentionTensors<T>& in, std::int64_t bh)
      : s_(s), in_(in), head_(s, bh), scratch_(scratch_size()) {
    q_ = scratch_.take(kQueries, s.dk), o_ = scratch_.take(kQueries, s.dv);
    k_columns_ = scratch_.take(s.dk, kKeys), k_decayed_ = scratch_.take(kKeys, s.dk),
    v_ = scratch_.take(kKeys, s.dv);
    scores_ = scratch_.take(kQueries, kKeys);
    S_ = scratch_.take(s.dk, s.dv), z_ = scratch_.take(1, s.dk);
    row_sums_ = scratch_.take(1, kQueries).at, decays_ = scratch_.take(1, kQueries + 2 * kKeys).at;
    pack_rows(S_, in.S + bh * s.dk * s.dv, s.dv, s.dk, s.dv);
    pack_rows(z_, in.z + bh * s.dk, s.dk, 1, s.dk);
  }

  void write_outputs(std::int64_t first, const RetentionOutput<T>& out) {
    const std::int64_t n = std::min(kQueries, s_.n - first);
    const T* const from_state = head_.from_state + first;
    pack_rows(q_, head_.row(in_.q, s_.q, first), s_.q.time, n, s_.dk);
    // Eq. (7): what is left of the state, gamma^(n+1) q_n S and the same of z
    multiply<T>(n, whole_panels<T>(s_.dv), {}, {q_.at, q_.step, 1, S_.at, S_.step, s_.dk}, Reach::all,
                {nullptr, from_state}, o_.at, o_.step);
    sum_rows<T>(n, 0, 0, {}, s_.dk, q_, from_state, z_.at, row_sums_);
    for (std::int64_t key = 0; key < first + n; key += kKeys)
      if (key + kKeys > first || head_.powers[first - (key + kKeys - 1)] > 0) add_keys(first, n, key);
    finish(first, n, out);
  }

  void write_state(const RetentionOutput<T>& out) {
    const T* const powers = head_.powers;
    for (std::int64_t d = 0; d < s_.dk; ++d)
      for (std::int64_t e = 0; e < s_.dv; ++e) S_.row(d)[e] *= powers[s_.n];
    for (std::int64_t d = 0; d < s_.dk; ++d) z_.at[d] *= powers[s_.n];
    for (std::int64_t key = 0; key < s_.n; key += kKeys) {
      const std::int64_t n = std::min(kKeys, s_.n - key), left = s_.n - (key + n);  // steps that follow
      if (!(powers[left] > 0)) continue;
      for (std::int64_t j = 0; j < n; ++j) decays_[j] = powers[left + n - 1 - j];
      pack_rows(k_decayed_, head_.row(in_.k, s_.k, key), s_.k.time, n, s_.dk, decays_);
      pack_rows(v_, head_.row(in_.v, s_.v, key), s_.v.time, n, s_.dv);
      multiply<T>(s_.dk, whole_panels<T>(s_.dv), {}, {k_decayed_.at, 1, k_decayed_.step, v_.at, v_.step, n},
                  Reach::all, {nullptr, nullptr, S_.at, T(1)}, S_.at, S_.step);
      sum_keys(n, s_.dk, k_decayed_, T(1), z_.at, z_.at);
    }
    for (std::int64_t d = 0; d < s_.dk; ++d)
      std::copy_n(S_.row(d), s_.dv, out.S + (head_.index * s_.dk + d) * s_.dv);
    std::copy_n(z_.at, s_.dk, out.z + head_.index * s_.dk);
  }

 private:
  /// o += (Q K^T . D) V and the row sums likewise, for the block of keys from `key` on.
  void add_keys(std::int64_t first, std::int64_t n, std::int64_t key) {
    const std::int64_t keys = std::min(kKeys, s_.n - key), offset = first - key;
    // D[i, j] = gamma^(offset + i - j) = decays[n - 1 + j - i], and 0 in the future
    for (std::int64_t x = 0; x < n + whole_panels<T>(keys); ++x) {
      const std::int64_t distance = offset + n - 1 - x;
      decays_[x] = distance >= 0 ? head_.powers[distance] : T(0);
    }
    pack_columns(k_columns_, head_.row(in_.k, s_.k, key), s_.k.time, keys, s_.dk);
    pack_rows(v_, head_.row(in_.v, s_.v, key), s_.v.time, keys, s_.dv);
    multiply_decayed<T>(n, keys, offset, {q_.at, q_.step, 1, k_columns_.at, k_columns_.step, s_.dk},
                        decays_ + n - 1, scores_.at, scores_.step);
    sum_rows<T>(n, keys, offset, scores_, 0, {}, nullptr, nullptr, row_sums_);
    multiply<T>(n, whole_panels<T>(s_.dv), {}, {scores_.at, scores_.step, 1, v_.at, v_.step, keys},
                Reach::past, {nullptr, nullptr, o_.at, T(1)}, o_.at, o_.step, offset);
  }

  /// Divides by c and writes.
  void finish(std::int64_t first, std::int64_t n, const RetentionOutput<T>& out) {
    for (std::int64_t i = 0; i < n; ++i) {
      const T scale = s_.root_s ? T(1) / divisor(row_sums_[i], s_.root_s[head_.h * s_.n + first + i]) : T(1);
      T* const o = head_.row(out.o, s_.o, first + i);
      for (std::int64_t e = 0; e < s_.dv; ++e) o[e] = scale * o_.row(i)[e];
    }
    std::copy_n(row_sums_, n, out.row_sums + head_.index * s_.n + first);
  }

  std::int64_t scratch_size() const {
    const auto of = Scratch<T>::size_of;
    return of(kQueries, s_.dk) + of(kQueries, s_.dv) + of(s_.dk, kKeys) + of(kKeys, s_.dk) +
           of(kKeys, s_.dv) + of(kQueries, kKeys) + of(s_.dk, s_.dv) + of(1, s_.dk) + of(1, kQueries) +
           of(1, kQueries + 2 * kKeys);
  }

  const Retention<T>& s_;
  const RetentionTensors<T>& in_;
  Head<T> head_;
  Scratch<T> scratch_;
  Packed<T> q_, o_, k_columns_, k_decayed_, v_, scores_, S_, z_;
  T *row_sums_, *decays_;
};

}  // namespace

template <class T>
void retention_parallel(Cpu, const Retention<T>& s, const RetentionTensors<T>& in,
                        const RetentionOutput<T>& out) {
  const std::int64_t heads = s.batch * s.heads, blocks = (s.n + kQueries - 1) / kQueries;
  parallel_for(heads * blocks, kQueries * s.n / 2 * (s.dk + s.dv), [&](std::int64_t index) {
    // A later block costs more: one from the front and one from the back in turn, so that threads, which get
    // equal stretches of these numbers, get equal work.
    const std::int64_t i = index / heads, block = i % 2 ? blocks - 1 - i / 2 : i / 2;
    Blocks<T>(s, in, index % heads).write_outputs(block * kQueries, out);
  });
  parallel_for(heads, s.n * s.dk * s.dv, [&](std::int64_t bh) { Blocks<T>(s, in, bh).write_state(out); });
}

template void retention_parallel<float>(Cpu, const Retention<float>&, const RetentionTensors<float>&,
                                        const RetentionOutput<float>&);
template void retention_parallel<double>(Cpu, const Retention<double>&, const RetentionTensors<double>&,
                                         const RetentionOutput<double>&);

}  // namespace retnet::kernels
