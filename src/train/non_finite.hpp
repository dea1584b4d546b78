// What a run does about a loss or gradient that is not finite.
#pragma once

#include <cstdint>
#include <string>

#include "base/console.hpp"
#include "train/config.hpp"

namespace rondo::train {

// `text`: which step, and what was found; `skipped`: how many steps were so up to now, this one
// included. Warns where the step may be skipped, else throws the SystemError that ends the run.
void skip_or_stop(const NonFiniteSection& section, const std::string& text, int64_t skipped,
                  base::Console& console);

}  // namespace rondo::train
