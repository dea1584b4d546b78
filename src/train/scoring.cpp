#include "train/scoring.hpp"

#include <cmath>
#include <future>

#include "data/gather.hpp"

namespace rondo::train {
namespace {

// What one document of a batch came to; words of 64 bits, for gather_all.
struct PartScore {
  int64_t example = 0;
  int64_t alone = 0;
  double loss = 0;
  double accuracy = 0;
  int64_t tokens = 0;
};

// Adds the documents of a batch that have trained tokens.
void add_parts(const data::PackedBatch& batch, std::span<const data::ScorePart> parts,
               const kernels::RowLosses& each, std::vector<PartScore>& scores) {
  if (batch.trainable_tokens == 0) return;
  const auto* document = batch.examples.const_data_ptr<int64_t>();
  const float* weight = batch.weights.const_data_ptr<float>();
  const float* loss = each.losses_n.const_data_ptr<float>();
  const float* correct = each.correct_n.const_data_ptr<float>();
  for (int64_t i = 0; i < batch.trainable_tokens;) {
    const int64_t d = document[i];
    const data::ScorePart& part = parts[static_cast<size_t>(d)];
    PartScore score{.example = part.example, .alone = part.alone ? 1 : 0};
    double weights = 0;
    for (; i < batch.trainable_tokens && document[i] == d; ++i, ++score.tokens) {
      score.loss += static_cast<double>(weight[i]) * static_cast<double>(loss[i]);
      score.accuracy += static_cast<double>(correct[i]);
      weights += static_cast<double>(weight[i]);
    }
    score.loss /= weights;
    score.accuracy /= static_cast<double>(score.tokens);
    scores.push_back(score);
  }
}

Scored by_example(const std::vector<PartScore>& parts, const data::ScoreInput& input,
                  const data::ScoreBatches& batches) {
  Scored scored;
  scored.examples.resize(input.lengths.size());
  scored.too_long = batches.too_long();
  scored.tokens = batches.tokens();
  for (const PartScore& part : parts) {
    ExampleScore& example = scored.examples[static_cast<size_t>(part.example)];
    if (part.alone != 0) {
      example.loss_alone = part.loss;
      continue;
    }
    example.loss = part.loss;
    example.accuracy = part.accuracy;
    example.tokens = part.tokens;
    if (!std::isfinite(part.loss)) ++scored.not_finite;
  }
  for (const ExampleScore& example : scored.examples) scored.untrained += example.tokens == 0;
  scored.untrained -= scored.too_long;
  return scored;
}

}  // namespace

double ExampleScore::perplexity() const { return std::exp(loss); }

std::optional<Scored> score_examples(model::Model& model, const data::ScoreInput& input,
                                     const ScoreSettings& settings, comm::Control& control,
                                     const ScoreHooks& hooks) {
  parallel::Mesh& mesh = model.mesh();
  model.set_poll([&mesh] { mesh.poll(); });
  const data::ScoreBatches batches(input, {.alone = settings.alone,
                                           .tokens_per_batch = settings.tokens_per_batch,
                                           .most_tokens = model.shape().max_seq});
  const int64_t ranks = mesh.data().size();
  // One batch is read while another is computed.
  const auto read = [&](int64_t batch) {
    return std::async(std::launch::async, [&batches, batch] { return batches.read(batch); });
  };
  auto ahead = read(mesh.data().rank());
  std::vector<PartScore> scores;
  int64_t done = 0;
  for (int64_t first = 0; first < batches.size(); first += ranks) {
    const int64_t mine = first + mesh.data().rank();
    if (control.any_true(hooks.stop())) return std::nullopt;
    data::PackedBatch batch;
    control.agree([&] { batch = ahead.get(); });
    ahead = read(mine + ranks);
    kernels::RowLosses each;
    model.forward({batch.tokens, batch.rows, batch.labels, batch.weights, batch.layout}, &each);
    add_parts(batch, batches.parts(mine), each, scores);
    for (int64_t b = first; b < std::min(first + ranks, batches.size()); ++b) {
      done += batches.tokens_of(b);
    }
    hooks.progress(done, batches.tokens());
  }
  return by_example(data::gather_all(scores, mesh.data()), input, batches);
}

data::ScoreColumns columns_of(const Scored& scored, int64_t first, std::vector<uint64_t> ids,
                              const std::string& prefix, bool alone) {
  data::ScoreColumns columns;
  const auto add = [&](const char* name, auto&& score_of) {
    std::vector<float>& values = columns.values[prefix + name];
    for (size_t i = 0; i < ids.size(); ++i) {
      values.push_back(
          static_cast<float>(score_of(scored.examples.at(static_cast<size_t>(first) + i))));
    }
  };
  add("loss", [](const ExampleScore& score) { return score.loss; });
  add("perplexity", [](const ExampleScore& score) { return score.perplexity(); });
  add("accuracy", [](const ExampleScore& score) { return score.accuracy; });
  add("tokens", [](const ExampleScore& score) { return score.tokens; });
  if (alone) {
    add("loss_alone", [](const ExampleScore& score) { return score.loss_alone; });
    add("ifd", [](const ExampleScore& score) { return score.ifd(); });
  }
  columns.example_id = std::move(ids);
  return columns;
}

}  // namespace rondo::train
