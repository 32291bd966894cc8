#include "tensor/checksum.h"

#include <array>
#include <bit>
#include <cstring>

namespace retnet {
namespace {

using Table = std::array<std::uint32_t, 256>;
constexpr int kSlices = 16;

// tables[0][b] divides the polynomial of byte b by the generator; tables[k][b] does so for b followed by k
// zero bytes. The remainder is linear, so 16 bytes at a time are the exclusive or of 16 look-ups that do not
// wait for each other ("slicing"; Kounavis and Berry, 2005).
constexpr std::array<Table, kSlices> make_tables() {
  std::array<Table, kSlices> tables{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t r = b;
    for (int bit = 0; bit < 8; ++bit) r = (r >> 1) ^ ((r & 1u) != 0 ? 0xEDB88320u : 0u);
    tables[0][b] = r;
  }
  for (std::size_t k = 1; k < kSlices; ++k)
    for (std::size_t b = 0; b < 256; ++b) {
      const std::uint32_t r = tables[k - 1][b];
      tables[k][b] = (r >> 8) ^ tables[0][r & 255u];
    }
  return tables;
}
constexpr std::array<Table, kSlices> kTables = make_tables();

std::uint32_t load_word(const unsigned char* p) {
  static_assert(std::endian::native == std::endian::little);
  std::uint32_t word = 0;
  std::memcpy(&word, p, sizeof word);
  return word;
}

// The four bytes of `word`, the last of which is followed by `zeros` more bytes.
std::uint32_t reduce(std::uint32_t word, std::size_t zeros) {
  return kTables[zeros + 3][word & 255u] ^ kTables[zeros + 2][(word >> 8) & 255u] ^
         kTables[zeros + 1][(word >> 16) & 255u] ^ kTables[zeros][word >> 24];
}

}  // namespace

std::uint32_t crc32(const void* bytes, std::int64_t count, std::uint32_t previous) {
  const auto* p = static_cast<const unsigned char*>(bytes);
  std::uint32_t r = ~previous;
  for (; count >= kSlices; count -= kSlices, p += kSlices)
    r = reduce(load_word(p) ^ r, 12) ^ reduce(load_word(p + 4), 8) ^ reduce(load_word(p + 8), 4) ^
        reduce(load_word(p + 12), 0);
  for (; count > 0; --count, ++p) r = (r >> 8) ^ kTables[0][(r ^ *p) & 255u];
  return ~r;
}

}  // namespace retnet
