// Scores of single examples: how well a model predicts each, with its prompt and without.
//
// Every example is a document of its own, as in training; examples lie side by side in batches that
// depend on the examples and settings alone (data/score_batches.hpp). So scores do not depend, to
// the bit, on the number of data-parallel ranks; over tensor ranks they differ by rounding.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "comm/control.hpp"
#include "data/score_batches.hpp"
#include "data/scores_file.hpp"
#include "model/model.hpp"

namespace rondo::train {

struct ScoreSettings {
  bool alone = false;               // loss_alone and ifd as well: about twice the work or less
  int64_t tokens_per_batch = 4096;  // of a data-parallel rank; the longest example raises it
};

// Means over the trained tokens of an example, by their weights; NaN where there is none, or where
// it was not computed.
struct ExampleScore {
  double loss = std::numeric_limits<double>::quiet_NaN();
  double accuracy = std::numeric_limits<double>::quiet_NaN();  // share predicted right, unweighted
  int64_t tokens = 0;                                          // that are trained
  // Of what is left without the tokens before the first trained one, which itself is then given
  // and not predicted.
  double loss_alone = std::numeric_limits<double>::quiet_NaN();

  double perplexity() const;
  // Instruction-following difficulty (Li et al. 2023, arXiv 2308.12032): loss / loss_alone.
  double ifd() const { return loss / loss_alone; }
};

struct Scored {
  std::vector<ExampleScore> examples;
  int64_t too_long = 0;    // have more tokens than the model has positions: no score
  int64_t untrained = 0;   // have no trained token: no score
  int64_t not_finite = 0;  // the loss came out as no finite number
  int64_t tokens = 0;      // computed, without padding
};

struct ScoreHooks {
  // Whether this rank wants to stop; asked before every batch.
  std::function<bool()> stop = [] { return false; };
  // After every batch of each rank: tokens that all ranks have computed, of so many.
  std::function<void(int64_t done, int64_t tokens)> progress = [](int64_t, int64_t) {};
};

// Collective over the control's ranks, which are those of the model's mesh; the same input on each.
// Nothing when any rank wants to stop on the way. Throws on all ranks what reading throws on one.
std::optional<Scored> score_examples(model::Model& model, const data::ScoreInput& input,
                                     const ScoreSettings& settings, comm::Control& control,
                                     const ScoreHooks& hooks = {});

// The scores as columns: PREFIX + loss, perplexity, accuracy, tokens, and with `alone` loss_alone
// and ifd. `ids`: of the examples, of which the columns hold as many, from `first` on.
data::ScoreColumns columns_of(const Scored& scored, int64_t first, std::vector<uint64_t> ids,
                              const std::string& prefix, bool alone);

}  // namespace rondo::train
