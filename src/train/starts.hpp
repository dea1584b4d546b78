// Starts of a run that brought no new checkpoint, counted over processes: a run that a batch system
// starts again and again for nothing ends with exit code 93. Called on rank 0.
#pragma once

#include <cstdint>
#include <string>

namespace rondo::train {

// Records this start in `path` and returns how many before it, in a row, began at the same
// `position` with the same `setting` (configuration and program).
int64_t count_starts(const std::string& path, const std::string& position,
                     const std::string& setting);
// The next start counts anew. What cannot be removed stays.
void forget_starts(const std::string& path);

}  // namespace rondo::train
