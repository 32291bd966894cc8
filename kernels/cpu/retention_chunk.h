/// @file
/// What the passes over one chunk share: packed operands in the calling thread's scratch, the table of
/// decays, row sums, and the walk of the state from chunk to chunk.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/cpu/retention_tile.h"
#include "kernels/retention.h"

namespace retnet::kernels {

/// Columns of whole panels.
template <class T>
constexpr std::int64_t whole_panels(std::int64_t columns) {
  return (columns + kPanel<T> - 1) / kPanel<T> * kPanel<T>;
}

/// Distance between packed rows of `columns` elements: whole panels, and an odd number of cache lines, since
/// rows a power of two apart would compete for the same few sets of the cache.
template <class T>
constexpr std::int64_t row_step(std::int64_t columns) {
  constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
  return ((whole_panels<T>(columns) + line - 1) / line | 1) * line;
}

/// A packed matrix: rows `step` apart, each on a cache line, zeros behind its last column up to a whole
/// panel.
template <class T>
struct Packed {
  T* at = nullptr;
  std::int64_t step = 0;

  T* row(std::int64_t i) const { return at + i * step; }
};

/// The calling thread's memory, kept from call to call, handed out matrix by matrix.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t size) {
    struct alignas(64) Line {
      T elements[64 / sizeof(T)];
    };
    thread_local std::vector<Line> memory;
    const auto lines = static_cast<std::size_t>(size) * sizeof(T) / 64 + 1;
    if (memory.size() < lines) memory.resize(lines);
    next_ = memory.data()->elements;
  }
  static std::int64_t size_of(std::int64_t rows, std::int64_t columns) { return rows * row_step<T>(columns); }

  Packed<T> take(std::int64_t rows, std::int64_t columns) {
    const Packed<T> matrix{next_, row_step<T>(columns)};
    next_ += rows * matrix.step;
    return matrix;
  }

 private:
  T* next_;
};

/// Memory for matrices whose rows begin on cache lines.
template <class T>
class Lines {
 public:
  explicit Lines(std::int64_t size) : memory_(static_cast<std::size_t>(size) * sizeof(T) / 64 + 1) {}
  T* data() { return memory_.data()->elements; }

 private:
  struct alignas(64) Line {
    T elements[64 / sizeof(T)];
  };
  std::vector<Line> memory_;
};

/// Fewer heads than this, counted over the batch, are cut into chunks as well, to be work for many threads.
inline constexpr std::int64_t kFewHeads = 16;

/// The first `count` of a vector's elements, or all; zeros in place of the others.
template <class T>
Vec<T> load_first(const T* x, std::int64_t count) {
  if (count >= kLanes<T>) return load(x);
  T elements[kLanes<T>] = {};
  for (std::int64_t i = 0; i < count; ++i) elements[i] = x[i];
  return load(elements);
}

/// to[i, :] = factors[i] x[i, :]; null: 1.
template <class T>
void pack_rows(Packed<T> to, const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t columns,
               const T* factors = nullptr) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const T factor = factors ? factors[i] : T(1);
    for (std::int64_t j = 0; j < whole_panels<T>(columns); j += kLanes<T>) {
      const Vec<T> v = load_first(x + i * x_row + j, columns - j);
      store<T>(to.row(i) + j, factors ? factor * v : v);
    }
  }
}

/// to[j, i] = x[i, j].
template <class T>
void pack_columns(Packed<T> to, const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t columns) {
  copy_transposed(to.at, to.step, x, x_row, columns, rows);
  for (std::int64_t j = 0; j < columns; ++j)
    std::fill(to.row(j) + rows, to.row(j) + whole_panels<T>(rows), T(0));
}

/// Sums of the elements of each of kLanes vectors, one a lane: a fixed tree.
template <class T>
Vec<T> horizontal_sums(Vec<T> (&parts)[kLanes<T>]) {
  transpose<T>(parts);
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
  return parts[0];
}

/// r[i] = sum over j <= i + offset of the scores of row i, plus what was before: gamma^(i+1) q_i z, or,
/// without z, r[i] itself. `r` has room for whole vectors.
template <class T>
void sum_rows(std::int64_t rows, std::int64_t columns, std::int64_t offset, Packed<T> scores, std::int64_t dk,
              Packed<T> q, const T* from_state, const T* z, T* r) {
  constexpr std::int64_t L = kLanes<T>;
  for (std::int64_t first = 0; first < rows; first += L) {
    Vec<T> parts[L] = {};
    for (std::int64_t i = first; i < std::min(rows, first + L); ++i) {
      Vec<T> sum = {};
      if (z) {
        for (std::int64_t d = 0; d < dk; d += L) sum += load(q.row(i) + d) * load(z + d);
        sum *= from_state[i];
      }
      for (std::int64_t j = 0; j < std::min(columns, i + offset + 1); j += L) sum += load(scores.row(i) + j);
      parts[i - first] = sum;
    }
    const Vec<T> sums = horizontal_sums<T>(parts);
    store<T>(r + first, z ? sums : load(r + first) + sums);
  }
}

/// to = sum of the rows of k + keep previous, in four interleaved sums.
template <class T>
void sum_keys(std::int64_t n, std::int64_t dk, Packed<T> k, T keep, const T* previous, T* to) {
  for (std::int64_t d = 0; d < dk; d += kLanes<T>) {
    Vec<T> sums[4] = {};
    for (std::int64_t i = 0; i < n; ++i) sums[i % 4] += load(k.row(i) + d);
    Vec<T> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    if (previous) sum += keep * load(previous + d);
    store<T>(to + d, sum);
  }
}

/// x += keep previous, element by element: what multiply() does with Finish::previous, for a sum made before.
template <class T>
void add_kept(std::int64_t rows, std::int64_t columns, T keep, Packed<T> previous, Packed<T> x) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; j += kLanes<T>) {
      Vec<T> sum = load(x.row(i) + j);
      sum += keep * load(previous.row(i) + j);
      store<T>(x.row(i) + j, sum);
    }
}

/// Powers of one head's decay in the order in which a row of D has them: at(x) is gamma^-x for -C < x <= 0
/// and 0 for the x > 0 of the future, so D[i, j] = at(j - i).
template <class T>
class DecayRow {
 public:
  static std::int64_t size(std::int64_t chunk) { return chunk + whole_panels<T>(chunk); }

  DecayRow() = default;
  /// @param powers  gamma^0 ..
  /// @param memory  size(chunk) elements
  DecayRow(const T* powers, std::int64_t chunk, T* memory) : diagonal_(memory + chunk - 1) {
    for (std::int64_t x = 0; x < chunk; ++x) memory[chunk - 1 - x] = powers[x];
    std::fill(memory + chunk, memory + size(chunk), T(0));
  }
  const T* diagonal() const { return diagonal_; }
  /// gamma^(n-1-i) at i: what is left of step i after a chunk of n steps.
  const T* to_state(std::int64_t n) const { return diagonal_ - (n - 1); }

 private:
  const T* diagonal_ = nullptr;
};

/// c_i = max(|q_i z_i|, sqrt(s_i)), Eq. (R4); NaN if the row sum is.
template <class T>
T divisor(T row_sum, T root_s) {
  const T size = std::abs(row_sum);
  return size < root_s ? root_s : size;
}

/// One head of one sequence: where its tensors begin.
template <class T>
struct Head {
  std::int64_t b, h, index;
  const T* powers;      ///< gamma^0 .. gamma^C
  const T* from_state;  ///< gamma^(i+1) at i

  Head(const Retention<T>& s, std::int64_t bh)
      : b(bh / s.heads),
        h(bh % s.heads),
        index(bh),
        powers(s.powers + h * (s.chunk + 1)),
        from_state(powers + 1) {}

  /// Row `n` of x in this head.
  template <class P>
  P* row(P* x, const RetentionLayout& l, std::int64_t n) const {
    return x + b * l.batch + h * l.head + n * l.time;
  }
};

/// Asks for rows that a later chunk will read or write: a head's rows are far apart, mostly in a memory page
/// each, and nothing else tells the processor what comes next.
template <class T>
void prefetch_rows(const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; j += line) __builtin_prefetch(x + i * x_row + j, 0, 2);
}

/// gamma^C' of the chunk that begins at `first`.
template <class T>
T whole_decay(const Retention<T>& s, std::int64_t bh, std::int64_t first) {
  return Head<T>(s, bh).powers[std::min(s.chunk, s.n - first)];
}

}  // namespace retnet::kernels
