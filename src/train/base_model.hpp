// The base model that a configuration names: its shape, checked before anything is made.
#pragma once

#include "comm/control.hpp"
#include "model/shape.hpp"
#include "train/config.hpp"
#include "train/model_source.hpp"

namespace rondo::train {

// Collective over all ranks of `control`. Shape of `model.from`, with `model.vocab` embedding rows
// where that is given, else as many as the tokenizer made for the run needs, or of `model.shape`.
// UserError when there is no such model, its weights do not fit its config.json (names and shapes;
// no weight is read), it has more rows than asked for, or a round's seq_len is beyond the positions
// it knows.
model::Shape base_shape(const Config& config, comm::Control& control);

// Whether models that this run reads may have fewer embedding rows than it trains.
Rows rows_of(const Config& config);

// Collective over all ranks of `control`. Where the base model is a checkpoint and no `tokenizer`
// is given, the one that the checkpoint names is put in its place; and in the place of either, the
// one that was made of it for the bundled chat template. UserError when that was made of another.
void name_tokenizer(Config& config, comm::Control& control);

}  // namespace rondo::train
