#include "kernels/hip/machine.h"

#include "kernels/hip/block.h"

namespace retnet::kernels {
namespace {

constexpr int kBlocks = 4096, kChains = 8;

__global__ void multiply_add(float* result, std::int64_t rounds) {
  const float scale = 0.999f, shift = static_cast<float>(threadIdx.x);
  float x[kChains];
#pragma unroll
  for (int c = 0; c < kChains; ++c) x[c] = static_cast<float>(c);
  for (std::int64_t round = 0; round < rounds; ++round)
#pragma unroll
    for (int c = 0; c < kChains; ++c) x[c] = x[c] * scale + shift;
  float sum = 0;
#pragma unroll
  for (int c = 0; c < kChains; ++c) sum += x[c];
  if (sum == -1) *result = sum;  // it never is
}

struct alignas(16) Four {
  float x[4];
};

__global__ void copy_fours(Four* to, const Four* from, std::int64_t n) {
  const std::int64_t i = thread_index();
  if (i < n) to[i] = from[i];
}

}  // namespace

std::int64_t multiply_add_rounds(Hip hip, float* result, std::int64_t rounds) {
  multiply_add<<<kBlocks, kThreads, 0, stream_of(hip)>>>(result, rounds);
  check_launch("multiply_add_rounds");
  return std::int64_t{2} * kBlocks * kThreads * kChains * rounds;
}

void copy_floats(Hip hip, float* to, const float* from, std::int64_t n) {
  copy_fours<<<blocks_for(n / 4), kThreads, 0, stream_of(hip)>>>(reinterpret_cast<Four*>(to),
                                                                 reinterpret_cast<const Four*>(from), n / 4);
  check_launch("copy_floats");
}

}  // namespace retnet::kernels
