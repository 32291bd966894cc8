#include "kernels/memory.h"

#include <cstdlib>
#include <cstring>

namespace retnet::kernels {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector register

}  // namespace

void* allocate(Cpu, std::int64_t bytes) {
  // The size must be a multiple of the alignment.
  return std::aligned_alloc(kAlignment,
                            (static_cast<std::size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment);
}

void release(Cpu, void* memory) { std::free(memory); }
void poison(Cpu, void* memory, std::int64_t bytes) {
  std::memset(memory, 0xFF, static_cast<std::size_t>(bytes));
}
void copy_in(Cpu, void* to, const void* from, std::int64_t bytes) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
void copy_out(Cpu, void* to, const void* from, std::int64_t bytes) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
std::string description(Cpu) { return "cpu"; }

}  // namespace retnet::kernels
