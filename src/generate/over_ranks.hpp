// Prompts split over ranks, completions brought together.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/slice.hpp"
#include "comm/control.hpp"
#include "generate/generator.hpp"

namespace rondo::generate {

// The prompts of a range of all prompts, with their indices in it.
using ReadPrompts = std::function<std::vector<Prompt>(base::Slice)>;

// Collective over all ranks of `control`. Completions of prompts [0, count), on every rank, each
// made by the rank whose even part holds it: the same for every number of ranks. What a rank throws
// is agreed. `progress` tells of this rank's part.
std::vector<Completion> complete_over_ranks(const Generator& generator, int64_t count,
                                            const ReadPrompts& read, comm::Control& control,
                                            const Progress& progress = {});

}  // namespace rondo::generate
