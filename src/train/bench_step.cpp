#include "train/bench_step.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/error.hpp"
#include "base/host_memory.hpp"
#include "base/random.hpp"
#include "plan/memory.hpp"
#include "train/calibration.hpp"
#include "train/memory.hpp"
#include "train/plan_of.hpp"
#include "train/step.hpp"

namespace rondo::train {

namespace {

constexpr int64_t kSeqLen = 512, kDocument = 170;

model::Shape bench_shape(int64_t layers) {
  model::Shape shape;
  shape.hidden = 512;
  shape.layers = layers;
  shape.heads = 8;
  shape.kv_heads = 4;
  shape.ffn = 1408;
  shape.vocab = 8192;
  shape.max_seq = 2048;
  shape.validate("bench");
  return shape;
}

data::PackedBatch synthetic_batch(int64_t packs, int64_t vocab, uint64_t seed) {
  data::PackedBatch batch;
  batch.packs = packs;
  batch.seq_len = kSeqLen;
  const int64_t rows = packs * kSeqLen;
  const base::Random random(seed, "bench");
  batch.tokens = at::zeros({rows}, at::kInt);
  auto* tokens = batch.tokens.data_ptr<int32_t>();
  std::vector<base::Slice> documents;
  std::vector<int64_t> trainable;
  std::vector<int64_t> labels;
  for (int64_t p = 0; p < packs; ++p) {
    for (int64_t d = 0; d + kDocument <= kSeqLen; d += kDocument) {
      const int64_t begin = p * kSeqLen + d;
      documents.push_back({begin, begin + kDocument});
      for (int64_t i = begin; i < begin + kDocument; ++i) {
        tokens[i] = static_cast<int32_t>(
            random.below(static_cast<uint64_t>(vocab), static_cast<uint64_t>(i)));
      }
      for (int64_t i = begin; i + 1 < begin + kDocument; i += 2) {
        trainable.push_back(i);
        labels.push_back(tokens[i + 1]);
      }
    }
  }
  batch.rows = at::tensor(trainable, at::kLong);
  batch.labels = at::tensor(labels, at::kLong);
  batch.weights = at::ones({std::ssize(trainable)});
  batch.layout = kernels::PackedLayout::make(rows, std::move(documents));
  batch.weight = static_cast<double>(trainable.size());
  batch.trainable_tokens = std::ssize(trainable);
  batch.real_tokens = packs * (kSeqLen / kDocument) * kDocument;
  return batch;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

parallel::MeshSize parse_mesh(const std::string& text) {
  parallel::MeshSize size;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%dx%dx%d%c", &size.replicate, &size.shard, &size.tensor, &rest) !=
          3 ||
      size.replicate < 1 || size.shard < 1 || size.tensor < 1) {
    base::fail_user("'{}' is no layout. Give replicate x shard x tensor, such as 1x2x2.", text);
  }
  return size;
}

nlohmann::json bench_step(const BenchStepSettings& settings, comm::Group& group,
                          comm::Control& control) {
  constexpr int kWarmUp = 2;
  parallel::MeshSize size = settings.mesh;
  if (size.ranks() == 0) size = {.shard = group.size()};
  const parallel::StateSettings& state = settings.model.state;
  if (state.zero == 0) size = {size.data(), 1, size.tensor};  // nothing is divided
  if (state.lanes > 0 && (state.lanes % size.data() != 0 || state.bf16_exchange)) {
    base::fail_user(
        "bench step: --lanes {} is for data-parallel sizes that divide it (not {}), without "
        "--bf16-exchange.",
        state.lanes, size.data());
  }
  if (size.ranks() != group.size()) {
    base::fail_user("bench step: --layout {}x{}x{} is for {} ranks, and there are {}.",
                    size.replicate, size.shard, size.tensor, size.ranks(), group.size());
  }
  if (settings.packs % (size.data() * settings.micro_packs) != 0) {
    base::fail_user(
        "bench step: {} packs do not divide over {} data-parallel ranks of {} packs per "
        "micro-batch.",
        settings.packs, size.data(), settings.micro_packs);
  }
  const model::Shape shape = bench_shape(settings.layers);
  Layout layout;
  layout.mesh = size;
  layout.zero = settings.model.state.zero;
  layout.lanes = settings.model.state.lanes;
  layout.bf16_exchange = settings.model.state.bf16_exchange;
  layout.compute = settings.model.state.compute;
  layout.recompute = settings.model.recompute;
  const int64_t before = base::resident_bytes();
  parallel::Mesh mesh(group, size);
  model::Model model(shape, mesh, settings.model);
  model.initialise(1);
  Stepper stepper(model, control);
  std::vector<data::PackedBatch> batches;
  const int64_t micro_batches = settings.packs / (size.data() * settings.micro_packs);
  for (int64_t m = 0; m < micro_batches; ++m) {
    batches.push_back(
        synthetic_batch(settings.micro_packs, shape.vocab,
                        static_cast<uint64_t>(mesh.data().rank() * micro_batches + m)));
  }
  StepSettings step;
  step.adamw.lr = 1e-4;
  step.clip = 1.0;
  std::vector<double> calibrations;
  std::vector<double> seconds;
  std::vector<double> fractions;
  Totals totals;
  double loss = 0;
  for (int64_t i = 0; i < kWarmUp + settings.steps; ++i) {
    // Anew before every step, so that a machine whose speed wanders is compared with itself.
    const double calibration = calibrate(group);
    step.adam_step = i + 1;
    const auto start = std::chrono::steady_clock::now();
    const StepResult result = stepper.run(batches, step);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    totals = result.totals;
    if (i >= kWarmUp) {
      seconds.push_back(spent.count());
      calibrations.push_back(calibration);
      fractions.push_back(totals.flops / spent.count() / calibration);
    }
    loss = result.totals.loss();
  }
  const double typical = median(seconds);
  constexpr auto kSteps = [](double value, int64_t steps) {
    return value / static_cast<double>(kWarmUp + steps);
  };
  auto communication = nlohmann::json::array();
  double waited = 0;
  for (comm::Group* axis : {&mesh.tensor(), &mesh.shard(), &mesh.replicate(), &mesh.data()}) {
    if (axis->size() == 1) continue;
    for (const auto purpose : {comm::Purpose::kActivations, comm::Purpose::kGradients,
                               comm::Purpose::kWeights, comm::Purpose::kMetrics}) {
      const comm::Traffic& traffic = axis->traffic(purpose);
      if (traffic.calls == 0) continue;
      waited += traffic.waited_s;
      communication.push_back(
          {{"axis", axis->name()},
           {"purpose", comm::name_of(purpose)},
           {"calls_per_step", kSteps(static_cast<double>(traffic.calls), settings.steps)},
           {"bytes_per_step", kSteps(static_cast<double>(traffic.bytes), settings.steps)},
           {"start_seconds_per_step", kSteps(traffic.start_s, settings.steps)},
           {"wait_seconds_per_step", kSteps(traffic.waited_s, settings.steps)},
           {"hidden_seconds_per_step", kSteps(traffic.hidden_s(), settings.steps)}});
    }
  }
  const plan::Memory memory = plan::memory_per_rank(
      dimensions_of(shape), plan_layout(layout, shape), {.rows = settings.micro_packs * kSeqLen});
  const int64_t used = base::peak_resident_bytes() - before;
  return {{"bench", "step"},
          {"ranks", group.size()},
          {"layout", fmt::format("{}x{}x{}", size.replicate, size.shard, size.tensor)},
          {"zero", layout.zero},
          {"reduction_lanes", layout.lanes},
          {"precision", layout.compute == at::kFloat ? "fp32" : "bf16"},
          {"gradient_exchange", layout.bf16_exchange ? "bf16" : "fp32"},
          {"threads_per_rank", at::get_num_threads()},
          {"layers", settings.layers},
          {"packs", settings.packs},
          {"micro_packs", settings.micro_packs},
          {"steps", settings.steps},
          {"median_seconds", typical},
          {"best_seconds", *std::ranges::min_element(seconds)},
          {"tokens_per_s", totals.real_tokens / typical},
          {"trainable_tokens_per_s", totals.trainable_tokens / typical},
          {"flops_per_token", totals.flops / totals.real_tokens},
          {"flop_formula",
           "6 * (block matmul parameters * tokens + head parameters * trainable) + 12 * layers * "
           "heads * head width * causal pairs per document"},
          {"flops", totals.flops / typical},
          {"calibration_flops", median(calibrations)},
          {"best_calibration_flops", std::ranges::max(calibrations)},
          {"fraction_of_calibration", median(fractions)},
          {"communication_wait_seconds_per_step", kSteps(waited, settings.steps)},
          {"communication", communication},
          {"planned_persistent_bytes", memory.persistent()},
          {"planned_peak_bytes", memory.peak()},
          {"peak_resident_bytes_more_than_before", used},
          {"loss", loss}};
}

}  // namespace rondo::train
