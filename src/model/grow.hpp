// Rows for ids that a tokenizer was given after pre-training, such as those of a chat template.
//
// Each starts as the mean of the rows before (J. Hewitt, "Initializing new word embeddings for
// pretrained language models", 2021): the new ids then take little probability from the others.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace rondo::model {

// Whether a parameter has a row per id: the embedding, or a head of its own.
bool has_row_per_id(const std::string& parameter);

// Sets the rows of `weight_vd` (float32) from `old_rows` on to the mean of those before, which is
// summed in float64 in their order: the same on every machine.
void fill_new_rows(const at::Tensor& weight_vd, int64_t old_rows);

}  // namespace rondo::model
