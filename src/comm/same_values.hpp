// Which ranks hold something else than the others, in words.
#pragma once

#include <string>
#include <vector>

namespace rondo::comm {

// "ranks 0, 1, 3 have a; rank 2 has b", from the value of each rank; empty when all are the same.
std::string differing_text(const std::vector<std::string>& values);

}  // namespace rondo::comm
