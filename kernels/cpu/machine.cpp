// Compiled with -ffp-contract=fast: a product and a sum here are one instruction where the machine has it.

#include "kernels/cpu/machine.h"

#include "kernels/cpu/simd.h"

namespace retnet::kernels {

namespace {

// A fused multiply-add takes 4 or 5 cycles, and two of them start in each: 10 chains keep them all busy.
constexpr int kChains = 12;
constexpr std::int64_t kRound = 256;

// What the compiler cannot know, it cannot compute in advance; what is stored here it cannot leave out.
volatile float factor = 0.999f, summand = 0.001f, sink;

}  // namespace

std::int64_t multiply_add_rounds(std::int64_t rounds) {
  constexpr int L = kLanes<float>;
  float start[kChains * L];
  for (int i = 0; i < kChains * L; ++i) start[i] = factor * static_cast<float>(i);
  Vec<float> chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = load(start + i * L);
  const Vec<float> a = Vec<float>{} + factor, b = Vec<float>{} + summand;
  for (std::int64_t n = 0; n < rounds * kRound; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) chain[i] = a * chain[i] + b;
  }
  for (int i = 1; i < kChains; ++i) chain[0] += chain[i];
  sink = chain[0][0];
  return rounds * kRound * kChains * L * 2;
}

float read_floats(const float* x, std::int64_t n) {
  constexpr int L = kLanes<float>;
  constexpr int kSums = 128 / L < 8 ? 128 / L : 8;  // an addition depends on the one before, as above
  Vec<float> sum[kSums] = {};
  for (std::int64_t i = 0; i < n; i += kSums * L) {
#pragma GCC unroll 8
    for (int s = 0; s < kSums; ++s) sum[s] += load(x + i + s * L);
  }
  float total = 0;
  for (int s = 0; s < kSums; ++s)
    for (int l = 0; l < L; ++l) total += sum[s][l];
  return total;
}

void triad(float* a, const float* b, const float* c, float x, std::int64_t n) {
  constexpr int L = kLanes<float>;
  std::int64_t i = 0;
  for (; i + L <= n; i += L) store<float>(a + i, load(b + i) + load(c + i) * x);
  for (; i < n; ++i) a[i] = b[i] + c[i] * x;
}

}  // namespace retnet::kernels
