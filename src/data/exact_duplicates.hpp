// Exact duplicates among many examples: candidates by hash, verified on the content itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/control.hpp"
#include "comm/group.hpp"
#include "data/words.hpp"

namespace rondo::data {

// What makes example i of a list what it is, as bytes. Called for any i on any rank.
using ReadContent = std::function<std::string(int64_t)>;

// Collective over all ranks, which share the work; the same on every rank and for any number of
// them. For each of `count` examples, the first one of the same content: itself, if there is none
// before it. Holds 8 bytes for each example and the contents of few.
std::vector<int64_t> first_of_same(int64_t count, const ReadContent& content, HashText hash,
                                   comm::Control& control, comm::Group& group);

}  // namespace rondo::data
