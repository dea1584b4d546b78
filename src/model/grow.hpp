// New embedding rows, for ids that the tokenizer has got since the model was made: each is the mean
// of the old rows, so that before training a new id is as likely as an average one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/slice.hpp"

namespace rondo::model {

// Whether a parameter has a row for each id of the vocabulary.
bool has_row_per_id(const std::string& parameter);

// The mean of the first `old_rows` rows of a table of `width` columns, summed in float64 in order.
// read(elements, out) gives elements of the flattened table.
std::vector<float> mean_row(int64_t old_rows, int64_t width,
                            const std::function<void(base::Slice, float*)>& read);

// Elements of `global`, a range of a flattened table of `width` columns, that belong to rows from
// old_rows on: written to `out`, which holds the whole range.
void fill_new_rows(const std::vector<float>& mean, int64_t old_rows, base::Slice global,
                   float* out);

}  // namespace rondo::model
