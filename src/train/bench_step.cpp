#include "train/bench_step.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

#include "base/error.hpp"
#include "base/host_memory.hpp"
#include "base/random.hpp"
#include "comm/cuda_devices.hpp"
#include "plan/memory.hpp"
#include "train/calibration.hpp"
#include "train/memory.hpp"
#include "train/plan_of.hpp"
#include "train/step.hpp"

namespace rondo::train {

namespace {

model::Shape small_shape() {
  model::Shape shape;
  shape.hidden = 512;
  shape.layers = 12;
  shape.heads = 8;
  shape.kv_heads = 4;
  shape.ffn = 1408;
  shape.vocab = 8192;
  return shape;
}

model::Shape llama(int64_t hidden, int64_t layers, int64_t ffn, int64_t head_width, bool tied) {
  model::Shape shape;
  shape.hidden = hidden;
  shape.layers = layers;
  shape.heads = 32;
  shape.kv_heads = 8;
  shape.head_width = head_width;
  shape.ffn = ffn;
  shape.vocab = 128256;
  shape.rope_theta = 500000;
  shape.tied = tied;
  return shape;
}

model::Shape qwen(int64_t hidden, int64_t layers, int64_t heads, int64_t kv_heads, int64_t ffn,
                  int64_t vocab, bool tied) {
  model::Shape shape;
  shape.family = model::Family::kQwen2;
  shape.hidden = hidden;
  shape.layers = layers;
  shape.heads = heads;
  shape.kv_heads = kv_heads;
  shape.ffn = ffn;
  shape.vocab = vocab;
  shape.rope_theta = 1000000;
  shape.norm_eps = 1e-6;
  shape.tied = tied;
  shape.qkv_bias = true;
  return shape;
}

// Packs of documents of equal length, of which every `train_every`-th position is trained on.
data::PackedBatch synthetic_batch(const BenchStepSettings& settings, int64_t vocab, uint64_t seed) {
  const int64_t length = settings.document;
  data::PackedBatch batch;
  batch.packs = settings.micro_packs;
  batch.seq_len = settings.seq_len;
  const int64_t rows = batch.packs * batch.seq_len;
  const base::Random random(seed, "bench");
  batch.tokens = at::zeros({rows}, at::kInt);
  auto* tokens = batch.tokens.data_ptr<int32_t>();
  std::vector<base::Slice> documents;
  std::vector<int64_t> trainable;
  std::vector<int64_t> labels;
  for (int64_t p = 0; p < batch.packs; ++p) {
    for (int64_t d = 0; d + length <= batch.seq_len; d += length) {
      const int64_t begin = p * batch.seq_len + d;
      documents.push_back({begin, begin + length});
      for (int64_t i = begin; i < begin + length; ++i) {
        tokens[i] = static_cast<int32_t>(
            random.below(static_cast<uint64_t>(vocab), static_cast<uint64_t>(i)));
      }
      for (int64_t i = begin; i + 1 < begin + length; i += settings.train_every) {
        trainable.push_back(i);
        labels.push_back(tokens[i + 1]);
      }
    }
  }
  batch.rows = at::tensor(trainable, at::kLong);
  batch.labels = at::tensor(labels, at::kLong);
  batch.weights = at::ones({std::ssize(trainable)});
  batch.real_tokens = std::ssize(documents) * length;
  batch.layout = kernels::PackedLayout::make(rows, std::move(documents));
  batch.weight = static_cast<double>(trainable.size());
  batch.trainable_tokens = std::ssize(trainable);
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

model::Shape bench_shape(const BenchStepSettings& settings) {
  // Sizes of the models' config.json.
  const std::map<std::string, model::Shape> known = {
      {"small", small_shape()},
      {"llama-3.2-1b", llama(2048, 16, 8192, 64, true)},
      {"llama-3.1-8b", llama(4096, 32, 14336, 128, false)},
      {"qwen2.5-0.5b", qwen(896, 24, 14, 2, 4864, 151936, true)},
      {"qwen2.5-1.5b", qwen(1536, 28, 12, 2, 8960, 151936, true)},
      {"qwen2.5-7b", qwen(3584, 28, 28, 4, 18944, 152064, false)}};
  const auto found = known.find(settings.shape);
  if (found == known.end()) {
    std::vector<std::string> names;
    for (const auto& [name, shape] : known) names.push_back(name);
    base::fail_user("bench: there is no shape '{}'. Give one of {}.", settings.shape,
                    fmt::join(names, ", "));
  }
  model::Shape shape = found->second;
  if (settings.layers > 0) shape.layers = settings.layers;
  shape.max_seq = std::max<int64_t>(2048, settings.seq_len);
  shape.validate("bench");
  return shape;
}

parallel::MeshSize bench_mesh(const BenchStepSettings& settings, int ranks) {
  parallel::MeshSize size = settings.mesh;
  if (size.ranks() == 0) size = {.shard = ranks};
  if (settings.model.state.zero == 0) size = {size.data(), 1, size.tensor};  // nothing is divided
  if (size.ranks() != ranks) {
    base::fail_user("bench: --layout {}x{}x{} is for {} ranks, and there are {}.", size.replicate,
                    size.shard, size.tensor, size.ranks(), ranks);
  }
  return size;
}

nlohmann::json bench_step(const BenchStepSettings& settings, comm::Group& group,
                          comm::Control& control) {
  const int64_t warm_up = settings.gpu.empty() ? 2 : 10;
  const parallel::MeshSize size = bench_mesh(settings, group.size());
  const parallel::StateSettings& state = settings.model.state;
  if (state.lanes > 0 && (state.lanes % size.data() != 0 || state.bf16_exchange)) {
    base::fail_user(
        "bench step: --lanes {} is for data-parallel sizes that divide it (not {}), without "
        "--bf16-exchange.",
        state.lanes, size.data());
  }
  if (settings.packs % (size.data() * settings.micro_packs) != 0) {
    base::fail_user(
        "bench step: {} packs do not divide over {} data-parallel ranks of {} packs per "
        "micro-batch.",
        settings.packs, size.data(), settings.micro_packs);
  }
  if (settings.document < 2 || settings.document > settings.seq_len) {
    base::fail_user("bench step: documents of {} tokens in packs of {}. Give 2 to {}.",
                    settings.document, settings.seq_len, settings.seq_len);
  }
  const model::Shape shape = bench_shape(settings);
  Layout layout;
  layout.mesh = size;
  layout.zero = settings.model.state.zero;
  layout.lanes = settings.model.state.lanes;
  layout.bf16_exchange = settings.model.state.bf16_exchange;
  layout.compute = settings.model.state.compute;
  layout.moments = settings.model.state.moments;
  layout.device = settings.model.state.device;
  layout.recompute = settings.model.recompute;
  const int64_t before = base::resident_bytes();
  parallel::Mesh mesh(group, size);
  model::Model model(shape, mesh, settings.model);
  model.initialise(1);
  Stepper stepper(model, control);
  std::vector<data::PackedBatch> batches;
  const int64_t micro_batches = settings.packs / (size.data() * settings.micro_packs);
  for (int64_t m = 0; m < micro_batches; ++m) {
    batches.push_back(synthetic_batch(
        settings, shape.vocab, static_cast<uint64_t>(mesh.data().rank() * micro_batches + m)));
  }
  StepSettings step;
  step.adamw.lr = 1e-4;
  step.clip = 1.0;
  const double peak = settings.gpu.empty() ? 0 : peak_of(settings.gpu).flops * group.size();
  std::vector<double> calibrations;
  std::vector<double> seconds;
  std::vector<double> fractions;
  Totals totals;
  double loss = 0;
  for (int64_t i = 0; i < warm_up + settings.steps; ++i) {
    // Anew before every step, so that a machine whose speed wanders is compared with itself.
    const double calibration = settings.gpu.empty() ? calibrate(group) : peak;
    step.adam_step = i + 1;
    const auto start = std::chrono::steady_clock::now();
    const StepResult result = stepper.run(batches, step);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    totals = result.totals;
    if (i >= warm_up) {
      seconds.push_back(spent.count());
      calibrations.push_back(calibration);
      fractions.push_back(totals.flops / spent.count() / calibration);
    }
    loss = result.totals.loss();
  }
  const double typical = median(seconds);
  const auto per_step = [&](double value) {
    return value / static_cast<double>(warm_up + settings.steps);
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
      communication.push_back({{"axis", axis->name()},
                               {"purpose", comm::name_of(purpose)},
                               {"calls_per_step", per_step(static_cast<double>(traffic.calls))},
                               {"bytes_per_step", per_step(static_cast<double>(traffic.bytes))},
                               {"start_seconds_per_step", per_step(traffic.start_s)},
                               {"wait_seconds_per_step", per_step(traffic.waited_s)},
                               {"hidden_seconds_per_step", per_step(traffic.hidden_s())}});
    }
  }
  const plan::Memory memory =
      plan::memory_per_rank(dimensions_of(shape), plan_layout(layout, shape),
                            {.rows = settings.micro_packs * settings.seq_len});
  const int64_t used = base::peak_resident_bytes() - before;
  return {{"bench", "step"},
          {"ranks", group.size()},
          {"layout", fmt::format("{}x{}x{}", size.replicate, size.shard, size.tensor)},
          {"zero", layout.zero},
          {"reduction_lanes", layout.lanes},
          {"precision", layout.compute == at::kFloat ? "fp32" : "bf16"},
          {"moments", layout.moments == at::kFloat ? "fp32" : "bf16"},
          {"gradient_exchange", layout.bf16_exchange ? "bf16" : "fp32"},
          {"threads_per_rank", at::get_num_threads()},
          {"device", settings.gpu.empty() ? "CPU" : settings.gpu},
          {"shape", settings.shape},
          {"parameters", shape.parameters()},
          {"layers", shape.layers},
          {"seq_len", settings.seq_len},
          {"document", settings.document},
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
          {"communication_wait_seconds_per_step", per_step(waited)},
          {"communication", communication},
          {"planned_persistent_bytes", memory.persistent()},
          {"planned_peak_bytes", memory.peak()},
          {"peak_resident_bytes_more_than_before", used},
          {"peak_device_bytes", comm::cuda_peak_bytes()},
          {"loss", loss}};
}

}  // namespace rondo::train
