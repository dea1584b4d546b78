#include "train/step.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>

namespace rondo::train {

namespace {

model::Input input_of(const data::PackedBatch& batch) {
  return {batch.tokens, batch.rows, batch.labels, batch.weights, batch.layout};
}

void add(Totals& totals, const data::PackedBatch& batch, const kernels::HeadLoss& loss) {
  totals.weighted_loss += loss.weighted_loss;
  totals.weight += loss.weight;
  totals.correct += static_cast<double>(loss.correct);
  totals.trainable_tokens += static_cast<double>(batch.trainable_tokens);
  totals.real_tokens += static_cast<double>(batch.real_tokens);
  totals.attention_pairs += static_cast<double>(batch.layout.attention_pairs);
}

// Collective over the group: sums in float64.
void all_sum(comm::Group& group, std::vector<double>& values) {
  at::Tensor sums = at::tensor(values, at::kDouble);
  group.all_sum(sums, comm::Purpose::kMetrics).wait();
  const double* data = sums.const_data_ptr<double>();
  values.assign(data, data + sums.numel());
}

}  // namespace

Stepper::Stepper(model::Model& model, comm::Group& group, comm::Control& control)
    : model_(model), group_(group), control_(control) {
  model_.set_poll([&group] { group.poll(); });
}

void Stepper::sum_over_ranks(Totals& totals, std::vector<double>& more) {
  std::vector<double> values = {totals.weighted_loss, totals.weight,
                                totals.correct,       totals.trainable_tokens,
                                totals.real_tokens,   totals.attention_pairs};
  const size_t own = values.size();
  values.insert(values.end(), more.begin(), more.end());
  all_sum(group_, values);
  totals.weighted_loss = values[0];
  totals.weight = values[1];
  totals.correct = values[2];
  totals.trainable_tokens = values[3];
  totals.real_tokens = values[4];
  totals.attention_pairs = values[5];
  more.assign(values.begin() + static_cast<std::ptrdiff_t>(own), values.end());
  totals.flops = model_.shape().model_flops(static_cast<int64_t>(totals.real_tokens),
                                            static_cast<int64_t>(totals.attention_pairs),
                                            static_cast<int64_t>(totals.trainable_tokens));
}

StepResult Stepper::run(const std::vector<data::PackedBatch>& batches,
                        const StepSettings& settings) {
  std::vector<double> weight = {0};
  for (const auto& batch : batches) weight[0] += batch.weight;
  all_sum(group_, weight);
  return run({.weight = weight[0],
              .micro_batches = std::ssize(batches),
              .next = [&](int64_t m) { return batches[static_cast<size_t>(m)]; }},
             settings);
}

StepResult Stepper::run(const StepData& data, const StepSettings& settings) {
  // The denominator is known before the first forward, so gradients need no later scaling.
  const double scale = data.weight > 0 ? 1 / data.weight : 0;
  model_.zero_grad();
  StepResult result;
  std::string not_finite;
  std::exception_ptr failed;
  for (int64_t m = 0; m < data.micro_batches; ++m) {
    const bool last = m + 1 == data.micro_batches;
    model::GradientReady ready;
    if (last) ready = [&](size_t unit) { model_.unit(unit).start_reduce(); };
    // A rank that cannot read goes on with padding, as the others wait for it in the reductions.
    data::PackedBatch batch;
    try {
      if (!failed) batch = data.next(m);
    } catch (...) {
      failed = std::current_exception();
    }
    if (failed) batch = data::PackedBatch::empty(data.packs, data.seq_len);
    const auto loss = model_.forward_backward(input_of(batch), scale, ready);
    if (!std::isfinite(loss.weighted_loss) && not_finite.empty()) {
      not_finite = fmt::format("the loss of micro-batch {} is not finite", m);
    }
    add(result.totals, batch, loss);
  }
  double squared = 0;
  for (size_t u = model_.unit_count(); u > 0; --u) {
    parallel::Unit& unit = model_.unit(u - 1);
    unit.finish_reduce();
    const double unit_squared = parallel::owned_squared_norm(unit);
    if (!std::isfinite(unit_squared) && not_finite.empty()) {
      not_finite = fmt::format("the gradient of unit {} is not finite", unit.name());
    }
    squared += unit_squared;
  }
  std::vector<double> sums = {squared};
  sum_over_ranks(result.totals, sums);
  result.grad_norm = std::sqrt(sums[0]);
  control_.agree([&] {
    if (failed) std::rethrow_exception(failed);
  });

  if (!std::isfinite(result.grad_norm) || !std::isfinite(result.totals.weighted_loss)) {
    result.updated = false;
    // A loss that is not finite spoils every rank's summed gradient: then only losses are named.
    const auto texts = control_.gather_text(not_finite);
    const bool any_loss = std::ranges::any_of(
        texts, [](const std::string& text) { return text.starts_with("the loss"); });
    for (size_t r = 0; r < texts.size(); ++r) {
      if (texts[r].empty() || (any_loss && !texts[r].starts_with("the loss"))) continue;
      result.not_finite +=
          fmt::format("{}rank {}: {}", result.not_finite.empty() ? "" : "; ", r, texts[r]);
    }
    return result;
  }
  const double clip =
      settings.clip > 0 && result.grad_norm > settings.clip ? settings.clip / result.grad_norm : 1;
  for (size_t u = 0; u < model_.unit_count(); ++u) {
    parallel::update_owned(model_.unit(u), settings.adamw, settings.adam_step, clip);
    model_.unit(u).gather_weights();
  }
  return result;
}

Totals Stepper::evaluate(const std::vector<data::PackedBatch>& batches) {
  Totals totals;
  for (const auto& batch : batches) {
    add(totals, batch, model_.forward(input_of(batch)));
  }
  std::vector<double> none;
  sum_over_ranks(totals, none);
  return totals;
}

}  // namespace rondo::train
