#include "train/bench_score.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/random.hpp"
#include "train/scoring.hpp"
#include "train/step.hpp"

namespace rondo::train {
namespace {

constexpr int64_t kWarmUp = 2;

data::ScoreInput synthetic_examples(const BenchStepSettings& settings, int64_t vocab) {
  const int64_t count = settings.packs * (settings.seq_len / settings.document);
  const auto length = static_cast<int32_t>(settings.document);
  data::ScoreInput input;
  input.lengths.assign(static_cast<size_t>(count), length);
  input.prompt_lengths.assign(static_cast<size_t>(count), length / 2);
  const auto tokens = std::make_shared<std::vector<int32_t>>();
  const base::Random random(1, "bench score");
  for (int64_t i = 0; i < count * length; ++i) {
    tokens->push_back(
        static_cast<int32_t>(random.below(static_cast<uint64_t>(vocab), static_cast<uint64_t>(i))));
  }
  input.read = [tokens, length](int64_t example, std::span<int32_t> out, std::span<float> weights) {
    std::copy_n(tokens->begin() + example * length, length, out.begin());
    for (int32_t t = 0; t < length; ++t) {
      weights[static_cast<size_t>(t)] = t + 1 >= length / 2 && t + 1 < length ? 1.0F : 0.0F;
    }
  };
  return input;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

nlohmann::json bench_score(const BenchStepSettings& settings, comm::Group& group,
                           comm::Control& control) {
  if (settings.document < 4 || settings.document > settings.seq_len) {
    base::fail_user("bench score: documents of {} tokens in packs of {}. Give 4 to {}.",
                    settings.document, settings.seq_len, settings.seq_len);
  }
  const model::Shape shape = bench_shape(settings);
  parallel::Mesh mesh(group, bench_mesh(settings, group.size()));
  model::ModelSettings model_settings = settings.model;
  model_settings.state.training = false;
  model::Model model(shape, mesh, model_settings);
  model.initialise(1);
  Stepper stepper(model, control);

  const data::ScoreInput input = synthetic_examples(settings, shape.vocab);
  ScoreSettings score{.tokens_per_batch = settings.micro_packs * settings.seq_len};
  const data::ScoreBatches batches(
      input, {.tokens_per_batch = score.tokens_per_batch, .most_tokens = shape.max_seq});
  std::vector<data::PackedBatch> mine;
  for (int64_t b = 0; b < batches.size(); b += mesh.data().size()) {
    mine.push_back(batches.read(b + mesh.data().rank()));
  }

  double loss = 0;
  double scored_loss = 0;
  Scored scored;
  const auto timed = [&](const auto& work) {
    control.barrier();
    const auto start = std::chrono::steady_clock::now();
    work();
    control.barrier();
    return base::seconds_since(start);
  };
  const auto score_all = [&](bool alone) {
    score.alone = alone;
    scored = *score_examples(model, input, score, control);
  };
  std::vector<double> evaluation, scoring, with_ifd, ratio, ifd_ratio;
  const auto tokens = static_cast<double>(batches.tokens());
  for (int64_t turn = 0; turn < kWarmUp + settings.steps; ++turn) {
    const double evaluated = tokens / timed([&] { loss = stepper.evaluate(mine).loss(); });
    const double columns = tokens / timed([&] { score_all(false); });
    scored_loss = 0;
    for (const ExampleScore& example : scored.examples) scored_loss += example.loss;
    scored_loss /= static_cast<double>(scored.examples.size());
    const double seconds = timed([&] { score_all(true); });
    if (turn < kWarmUp) continue;
    evaluation.push_back(evaluated);
    scoring.push_back(columns);
    with_ifd.push_back(static_cast<double>(scored.tokens) / seconds);
    ratio.push_back(columns / evaluated);
    ifd_ratio.push_back(with_ifd.back() / evaluated);
  }
  return {{"bench", "score"},
          {"ranks", group.size()},
          {"tensor", mesh.size().tensor},
          {"precision", model_settings.state.compute == at::kFloat ? "fp32" : "bf16"},
          {"threads_per_rank", at::get_num_threads()},
          {"device", settings.gpu.empty() ? "CPU" : settings.gpu},
          {"shape", settings.shape},
          {"parameters", shape.parameters()},
          {"examples", std::ssize(input.lengths)},
          {"document", settings.document},
          {"tokens_per_batch", score.tokens_per_batch},
          {"turns", settings.steps},
          {"evaluation_tokens_per_s", median(evaluation)},
          {"scoring_tokens_per_s", median(scoring)},
          {"scoring_with_ifd_tokens_per_s", median(with_ifd)},
          {"scoring_over_evaluation", median(ratio)},
          {"scoring_with_ifd_over_evaluation", median(ifd_ratio)},
          {"evaluation_loss", loss},
          {"mean_of_scores", scored_loss}};
}

}  // namespace rondo::train
