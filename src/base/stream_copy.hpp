// Large copies of memory that is not read again soon.
#pragma once

#include <cstdint>

namespace rondo::base {

// Copies `count` floats past the caches: the target's lines are not read first, as memcpy does
// below a size of its own. The ranges do not overlap.
void stream_copy(const float* from, int64_t count, float* to);

}  // namespace rondo::base
