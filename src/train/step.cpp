#include "train/step.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>

#include "base/error.hpp"

namespace rondo::train {

namespace {

model::Input input_of(const data::PackedBatch& batch) {
  return {batch.tokens, batch.rows, batch.labels, batch.weights, batch.layout};
}

void add(Totals& totals, const kernels::HeadLoss& loss) {
  totals.weighted_loss += loss.weighted_loss;
  totals.weight += loss.weight;
  totals.correct += static_cast<double>(loss.correct);
}

void add(Totals& totals, const data::PackedBatch& batch) {
  totals.trainable_tokens += static_cast<double>(batch.trainable_tokens);
  totals.real_tokens += static_cast<double>(batch.real_tokens);
  totals.attention_pairs += static_cast<double>(batch.layout.attention_pairs);
}

constexpr size_t kFields = 6;
std::array<double*, kFields> fields(Totals& totals) {
  return {&totals.weighted_loss,    &totals.weight,      &totals.correct,
          &totals.trainable_tokens, &totals.real_tokens, &totals.attention_pairs};
}

// Collective over the group. What each rank gives, in the order of ranks.
std::vector<double> gathered(comm::Group& group, const std::vector<double>& mine) {
  const at::Tensor all = at::empty({group.size() * static_cast<int64_t>(mine.size())}, at::kDouble);
  group.all_gather(all, at::tensor(mine, at::kDouble), comm::Purpose::kMetrics).wait();
  const double* data = all.const_data_ptr<double>();
  return {data, data + all.numel()};
}

}  // namespace

Stepper::Stepper(model::Model& model, comm::Control& control) : model_(model), control_(control) {
  for (size_t u = 0; u < model_.unit_count(); ++u) reductions_.emplace_back(model_.unit(u));
  parallel::Mesh& mesh = model_.mesh();
  const int64_t lanes = model_.settings().state.lanes;
  if (lanes > 0) lanes_here_ = lanes / mesh.size().data();
  model_.set_poll([&mesh] { mesh.poll(); });
}

Totals Stepper::sum_over_ranks(const std::vector<Totals>& parts, Totals totals) {
  std::vector<double> mine;
  for (Totals part : parts) {
    for (const double* field : fields(part)) mine.push_back(*field);
  }
  const std::vector<double> all = gathered(model_.mesh().data(), mine);
  for (size_t i = 0; i < all.size(); ++i) *fields(totals)[i % kFields] += all[i];
  totals.flops = model_.shape().model_flops(static_cast<int64_t>(totals.real_tokens),
                                            static_cast<int64_t>(totals.attention_pairs),
                                            static_cast<int64_t>(totals.trainable_tokens));
  return totals;
}

StepResult Stepper::run(const std::vector<data::PackedBatch>& batches,
                        const StepSettings& settings) {
  double mine = 0;
  for (const auto& batch : batches) mine += batch.weight;
  double weight = 0;
  for (const double part : gathered(model_.mesh().data(), {mine})) weight += part;
  return run({.weight = weight,
              .micro_batches = std::ssize(batches),
              .next = [&](int64_t m) { return batches[static_cast<size_t>(m)]; }},
             settings);
}

void Stepper::reduce(size_t u, int64_t m, int64_t micro_batches) {
  const bool last = m + 1 == micro_batches;
  const parallel::StateSettings& state = model_.settings().state;
  if (state.lanes > 0) {
    const int64_t each = micro_batches / lanes_here_;
    if ((m + 1) % each == 0) model_.unit(u).end_lane(m / each, lanes_here_);
  }
  if (!last && !state.transient_grads()) return;
  reductions_[u].start(last);
  // Units whose sums have had the backward of another beside them go on: the two before this one.
  for (size_t before = std::min(u + 2, reductions_.size() - 1); before > u; --before) {
    reductions_[before].advance();
  }
  // The embedding comes last in a micro-batch; its gradients must be free when the next one writes
  // to them, which a tied head does first.
  const bool first = u + 1 == reductions_.size();
  if (model_.shape().tied ? u == 0 && !last : first) reductions_[0].advance();
}

std::vector<parallel::OwnedSquaredNorms> Stepper::finish_reductions() {
  std::vector<parallel::OwnedSquaredNorms> norms;
  for (size_t u = model_.unit_count(); u > 0; --u) {
    reductions_[u - 1].finish();
    norms.emplace_back(model_.unit(u - 1));
  }
  return norms;
}

double Stepper::gradient_norm(const std::vector<parallel::OwnedSquaredNorms>& norms,
                              std::string& not_finite) {
  std::vector<double> squares;
  for (size_t i = 0; i < norms.size(); ++i) {
    const std::vector<double> of_unit = norms[i].entries();
    const bool finite = std::ranges::all_of(of_unit, [](double x) { return std::isfinite(x); });
    if (!finite && not_finite.empty()) {
      not_finite = fmt::format("the gradient of unit {} is not finite",
                               model_.unit(norms.size() - 1 - i).name());
    }
    squares.insert(squares.end(), of_unit.begin(), of_unit.end());
  }
  return std::sqrt(parallel::sum_of_squares(squares, model_.mesh()));
}

bool Stepper::any_of_tensor_ranks(bool mine) {
  comm::Group& tensor = model_.mesh().tensor();
  if (tensor.size() == 1) return mine;
  // By the host, so that it does not wait for the device; what any rank meets ends the step.
  if (!model_.settings().state.device.is_cpu()) return control_.any_true(mine);
  const at::Tensor any = at::full({1}, mine ? 1 : 0, at::kInt);
  tensor.all_max(any, comm::Purpose::kMetrics).wait();
  return any.item<int>() != 0;
}

std::string Stepper::who_is_not_finite(const std::string& mine) {
  const auto texts = control_.gather_text(mine);
  // A loss that is not finite spoils every rank's summed gradient: then only losses are named.
  const bool any_loss = std::ranges::any_of(
      texts, [](const std::string& text) { return text.starts_with("the loss"); });
  std::string all;
  for (size_t r = 0; r < texts.size(); ++r) {
    if (texts[r].empty() || (any_loss && !texts[r].starts_with("the loss"))) continue;
    all += fmt::format("{}rank {}: {}", all.empty() ? "" : "; ", r, texts[r]);
  }
  return all;
}

StepResult Stepper::run(const StepData& data, const StepSettings& settings) {
  RONDO_CHECK(data.micro_batches % lanes_here_ == 0, "{} micro-batches in {} lanes",
              data.micro_batches, lanes_here_);
  // The denominator is known before the first forward, so gradients need no later scaling.
  const double scale = data.weight > 0 ? 1 / data.weight : 0;
  model_.zero_grad();
  StepResult result;
  std::string not_finite;
  std::exception_ptr failed;
  std::vector<Totals> lanes(static_cast<size_t>(lanes_here_));
  const auto lane_of = [&](int64_t m) -> Totals& {
    return lanes[static_cast<size_t>(m * lanes_here_ / data.micro_batches)];
  };
  std::vector<kernels::LossSums> losses;
  for (int64_t m = 0; m < data.micro_batches; ++m) {
    // A rank that cannot read goes on with padding, as the others wait for it in the reductions,
    // and so do those that share its packs.
    data::PackedBatch batch;
    try {
      if (!failed) batch = data.next(m);
    } catch (...) {
      failed = std::current_exception();
    }
    if (any_of_tensor_ranks(failed != nullptr)) {
      batch = data::PackedBatch::empty(data.packs, data.seq_len);
    }
    losses.push_back(model_.forward_backward(
        input_of(batch), scale, [&](size_t unit) { reduce(unit, m, data.micro_batches); }));
    add(lane_of(m), batch);
  }
  const auto norms = finish_reductions();
  // From here on the host waits for the device.
  for (int64_t m = 0; m < data.micro_batches; ++m) {
    const kernels::HeadLoss loss = losses[static_cast<size_t>(m)].read();
    if (!std::isfinite(loss.weighted_loss) && not_finite.empty()) {
      not_finite = fmt::format("the loss of micro-batch {} is not finite", m);
    }
    add(lane_of(m), loss);
  }
  result.grad_norm = gradient_norm(norms, not_finite);
  result.totals = sum_over_ranks(lanes);
  control_.agree([&] {
    if (failed) std::rethrow_exception(failed);
  });

  if (!std::isfinite(result.grad_norm) || !std::isfinite(result.totals.weighted_loss)) {
    result.updated = false;
    result.not_finite = who_is_not_finite(not_finite);
    return result;
  }
  if (settings.refuse) result.refused = settings.refuse(result.totals.loss(), result.grad_norm);
  if (!result.refused.empty()) {
    result.updated = false;
    return result;
  }
  const double clip =
      settings.clip > 0 && result.grad_norm > settings.clip ? settings.clip / result.grad_norm : 1;
  for (size_t u = 0; u < model_.unit_count(); ++u) {
    parallel::update_owned(model_.unit(u), settings.adamw, settings.adam_step, clip);
    // The first two are gathered beside the updates of the others, those beside the computation
    // before their use (parallel/prefetch.hpp).
    if (u < 2 && !model_.settings().state.transient_weights()) model_.unit(u).start_gather();
    model_.mesh().poll();
  }
  return result;
}

Totals Stepper::evaluate(const std::vector<data::PackedBatch>& batches, Totals totals) {
  for (const auto& batch : batches) {
    Totals part;
    add(part, batch);
    add(part, model_.forward(input_of(batch)).read());
    totals = sum_over_ranks({part}, totals);
  }
  return totals;
}

}  // namespace rondo::train
