// CRC32C (Castagnoli), by the SSE4.2 instruction where there is one, else by table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace rondo::base {

// CRC of `bytes` following data whose CRC was `previous` (0 at the start).
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t previous = 0);
// The same by table: the reference for the test, and the version for other processors.
uint32_t crc32c_portable(std::span<const std::byte> bytes, uint32_t previous = 0);

}  // namespace rondo::base
