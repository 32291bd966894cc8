#include "train/losses.h"

namespace retnet {
namespace {

LossBucket merged(const LossBucket& a, const LossBucket& b) {
  LossBucket both = a;
  if (b.low.loss < a.low.loss) both.low = b.low;
  if (b.high.loss > a.high.loss) both.high = b.high;
  both.last = b.last;
  both.count += b.count;
  both.sum += b.sum;
  return both;
}

}  // namespace

void LossSeries::add(const LossPoint& point) {
  static_assert(kMost % 2 == 0, "buckets are merged in pairs");
  const LossBucket one{point, point, point.step, point.step, 1, point.loss};
  back_ = point;
  if (!buckets_.empty() && buckets_.back().count < span_) {
    buckets_.back() = merged(buckets_.back(), one);
    return;
  }
  if (buckets_.size() == kMost) {
    for (std::size_t i = 0; i < kMost / 2; ++i) buckets_[i] = merged(buckets_[2 * i], buckets_[2 * i + 1]);
    buckets_.resize(kMost / 2);
    span_ *= 2;
  }
  buckets_.push_back(one);
}

}  // namespace retnet
