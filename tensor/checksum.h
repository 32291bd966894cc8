/// @file
/// CRC-32, which tells a damaged file from a whole one.
#pragma once

#include <cstdint>

namespace retnet {

/// CRC-32 of zlib, PNG and Ethernet (polynomial 0xEDB88320, bits reflected): Python's zlib.crc32(bytes) is
/// equal. Detects every error within 32 consecutive bits, and others with probability 1 - 2^-32; no defence
/// against intent. About 2 GB/s.
/// @param previous  the checksum of the bytes before these, 0 at the start
std::uint32_t crc32(const void* bytes, std::int64_t count, std::uint32_t previous = 0);

}  // namespace retnet
