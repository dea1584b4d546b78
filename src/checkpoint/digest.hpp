// Digest of named tensors that does not depend on how they are cut: a sum (mod 2^64) over all
// elements of a mix of (tensor name, element index, bits). Parts may be summed in any order, so any
// ranks can each add what they hold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rondo::checkpoint {

// Elements [first, first + count) of the flattened tensor `name`; part of the format, see
// docs/formats/checkpoint.md. The mix of an element is the finaliser of SplitMix64 (Steele, Lea,
// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
uint64_t digest_part(std::string_view name, int64_t first, const float* data, int64_t count);

// 16 hexadecimal digits, and back (UserError when it is not that).
std::string digest_text(uint64_t digest);
uint64_t parse_digest(std::string_view text);

}  // namespace rondo::checkpoint
