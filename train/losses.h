/// @file
/// The losses of a run in bounded memory: what its picture is drawn from, however long the run is.
#pragma once

#include <cstdint>
#include <vector>

namespace retnet {

/// A loss and the step after which it was measured.
struct LossPoint {
  std::int64_t step = 0;
  double loss = 0;  ///< nats per byte
};

/// Losses one after the other, taken together. @invariant `count` is at least 1
struct LossBucket {
  LossPoint low, high;               ///< the lowest and the highest of them
  std::int64_t first = 0, last = 0;  ///< steps
  std::int64_t count = 0;
  double sum = 0;
};

/// A series of losses as at most kMost buckets of equally many, but for the last one. When they are full,
/// neighbours are merged. So the buckets are a function of the losses alone, and a run that was resumed has
/// those of one that was not. Adding one takes constant time on the average.
class LossSeries {
 public:
  static constexpr std::size_t kMost = 4096;

  /// @param point  of a later step than those before
  void add(const LossPoint& point);

  const std::vector<LossBucket>& buckets() const { return buckets_; }
  std::int64_t span() const { return span_; }      ///< losses in each bucket but the last: a power of two
  const LossPoint& back() const { return back_; }  ///< the last loss added

 private:
  std::vector<LossBucket> buckets_;
  std::int64_t span_ = 1;
  LossPoint back_;
};

/// Both series of a run.
struct LossHistory {
  LossSeries training;  ///< of each step
  LossSeries held_out;  ///< of each evaluation
};

}  // namespace retnet
