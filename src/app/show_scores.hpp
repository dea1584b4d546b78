// Columns of scores (data/scores_file.hpp) in lines for a person.
#pragma once

#include "base/console.hpp"
#include "data/scores_file.hpp"

namespace rondo::app {

// For each column: how many examples have a score, mean and percentiles of these.
void show_scores(const data::ScoreColumns& columns, base::Console& console);

}  // namespace rondo::app
