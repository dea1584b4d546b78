// Memory of this process and host, as Linux tells it.
#pragma once

#include <cstdint>
#include <string>

namespace rondo::base {

// Bytes of this process in memory now, and the most it has had; 0 where the system does not say.
int64_t resident_bytes();
int64_t peak_resident_bytes();

// Bytes that this process may still take: what its host has available, or what the limits of its
// control groups leave (a batch job's, a container's), whichever is less. `root`: where /proc and
// /sys are.
int64_t available_bytes(const std::string& root = "");

}  // namespace rondo::base
