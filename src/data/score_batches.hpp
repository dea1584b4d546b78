// What is scored, in batches: examples side by side, each whole and, where asked, its answers alone
// (what the prompt leaves, as a document of its own).
//
// Which documents share a batch depends on the examples and the settings alone, never on ranks, so
// that any number of data-parallel ranks computes the same batches. Best-fit (pack_plan.hpp); all
// have equally many rows, and those with more attention come first, so that batches that ranks
// compute at the same time are of about equal work.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "data/batch.hpp"

namespace rondo::data {

class PackInputs;

// Examples to be scored, wherever they are.
struct ScoreInput {
  std::vector<int32_t> lengths;         // tokens of each
  std::vector<int32_t> prompt_lengths;  // of them, those before the first trained one
  // All tokens of an example, and for each the weight of the token after it; 0 for the last. May be
  // called from another thread than the caller's.
  std::function<void(int64_t example, std::span<int32_t> tokens, std::span<float> weights)> read;
};

// Of all examples of `inputs`, which must outlive it.
ScoreInput score_input(const PackInputs& inputs);

struct ScoreBatchSettings {
  bool alone = false;            // the answers alone as well
  int64_t tokens_per_batch = 0;  // the longest example raises it
  int64_t most_tokens = 0;       // of an example; longer ones are in no batch
};

// A document of a batch.
struct ScorePart {
  int64_t example = 0;
  bool alone = false;
};

class ScoreBatches {
 public:
  ScoreBatches(ScoreInput input, const ScoreBatchSettings& settings);

  int64_t size() const { return std::ssize(first_part_) - 1; }
  // Of every batch, padding included.
  int64_t rows() const { return rows_; }
  int64_t too_long() const { return too_long_; }
  // Without padding: of all batches, and of one.
  int64_t tokens() const { return tokens_; }
  int64_t tokens_of(int64_t batch) const;
  // The documents of a batch, in the order of its layout.
  std::span<const ScorePart> parts(int64_t batch) const;
  // Throws what ScoreInput::read does. Batches beyond the last hold padding alone.
  PackedBatch read(int64_t batch) const;

 private:
  ScoreInput input_;
  int64_t rows_ = 0;
  int64_t too_long_ = 0;
  int64_t tokens_ = 0;
  std::vector<ScorePart> parts_;     // batch by batch
  std::vector<int64_t> first_part_;  // by batch, and the end
};

}  // namespace rondo::data
