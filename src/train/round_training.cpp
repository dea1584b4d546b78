#include "train/round_training.hpp"

#include <fmt/format.h>

#include <chrono>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "train/metrics_line.hpp"
#include "train/progress.hpp"
#include "train/run_data.hpp"
#include "train/schedule.hpp"

namespace rondo::train {

namespace {

using Clock = std::chrono::steady_clock;

RoundLengths lengths_of(const RunParts& parts) {
  return {parts.config.rounds, parts.sets.packs_of_rounds()};
}

data::LoaderConfig loader_config(const RunParts& parts, size_t round) {
  const BatchSection& batch = parts.config.rounds[round].batch.value;
  return {.packs_per_step = batch.packs,
          .micro_packs = batch.micro_packs.value,
          .rank = parts.mesh.data().rank(),
          .size = parts.mesh.data().size(),
          .seed = seed_of_round(parts.config, round),
          .average = average_of(parts.config),
          .read_ahead =
              batch.read_ahead.automatic() ? 2 * batch.micro_packs.value : batch.read_ahead.value};
}

constexpr size_t kMostExamples = 1000;  // named in an event

}  // namespace

RoundTraining::RoundTraining(const RunParts& parts, size_t round)
    : parts_(parts),
      index_(round),
      round_(parts.config.rounds[round]),
      total_(lengths_of(parts).steps(round)),
      steps_per_epoch_(lengths_of(parts).steps_per_epoch(round)),
      schedule_(parts.config.rounds[lengths_of(parts).schedule_round(round)].schedule.value),
      schedule_steps_(lengths_of(parts).schedule_steps(round)),
      first_data_step_(lengths_of(parts).steps_since(plan_origin(parts.config, round), round)),
      loader_(parts.sets.round(round), loader_config(parts, round)) {}

RoundEnd RoundTraining::run(RunState& state) {
  parts_.console.line("round {}: {} steps ({:.2f} epochs of {} packs)", round_.name, total_,
                      static_cast<double>(total_) / static_cast<double>(steps_per_epoch_),
                      parts_.sets.round(index_).packs());
  ProgressLine progress(parts_.console, round_.name, state.round_step, total_,
                        parts_.config.run.print_every);
  const int64_t most_steps = parts_.config.run.max_steps;
  Saver& saver = parts_.saver;
  parts_.watchdog.forget();
  if (!finish_pending(state)) return stopped(state);
  while (state.round_step < total_) {
    if (most_steps > 0 && state.step >= most_steps) return RoundEnd::kStepsReached;
    // Until something is saved: then ranks work for others.
    comm::ControlDeadline deadline(parts_.control, parts_.config.parallel.deadline_s);
    parts_.watchdog.enter("step", state.step + 1);
    parts_.faults.reach("step_begun", state.step + 1);
    const Step step = compute(state);
    const StepResult& result = step.result;
    parts_.stop.step_took(step.seconds);
    parts_.faults.reach("step_done", state.step + 1);
    if (!result.updated && on_trouble(state, result) == Reaction::kRollback) {
      return RoundEnd::kGoBack;
    }
    if (result.updated) {
      ++state.adam_step;
      if (parts_.config.spike.on()) {
        state.recent.add(result.totals.loss(), result.grad_norm, parts_.config.spike.window);
      }
    }
    ++state.step;
    ++state.round_step;

    const StepRecord record = {
        .round = round_.name,
        .step = state.step,
        .round_step = state.round_step,
        .result = result,
        .lr = step.lr,
        .seconds = step.seconds,
        .loader_wait_seconds = step.loader_wait_s,
        .communication = step.communication,
        .fraction_of_calibration = result.totals.flops / step.seconds / parts_.calibration};
    progress.show({.done = state.round_step,
                   .loss = result.totals.loss(),
                   .tokens_per_s = result.totals.real_tokens / step.seconds,
                   .trainable_per_s = result.totals.trainable_tokens / step.seconds,
                   .calibration_share = record.fraction_of_calibration});
    state.pending_line = metrics_line(record);
    if (parts_.sets.any_heldout() && state.round_step < total_ &&
        is_due(round_.evaluate.value.every, state.round_step, steps_per_epoch_)) {
      deadline.end();
      if (!finish_pending(state)) {
        saver.save_step(state);
        return stopped(state);
      }
    } else {
      log(state.pending_line);
      state.pending_line.clear();
    }
    parts_.faults.reach("logged", state.step);

    const auto wanted = parts_.control.each_any_true(
        {!parts_.stop.reason().empty(),
         parts_.folder != nullptr && saver.due(state, steps_per_epoch_), !saver.written(),
         parts_.folder != nullptr && parts_.folder->lost()});
    const bool stop = wanted[0];
    const bool due = wanted[1];
    deadline.end();
    if (wanted[3]) parts_.control.on_first([&] { parts_.folder->check_owner(); });
    if (saver.in_flight() && !wanted[2]) saver.finish();
    const bool last = state.round_step == total_;
    const bool reached = most_steps > 0 && state.step >= most_steps;
    if (last || stop || reached || due) {
      parts_.control.on_first([&] { parts_.metrics->sync(); });
    }
    if (last) {
      state.round_trained = true;
      saver.save_round(state);
      return stop ? stopped(state) : RoundEnd::kTrained;
    }
    if (stop || reached) {
      saver.save_step(state);
    } else if (due) {
      saver.begin_step(state);
    }
    parts_.stop.save_took(saver.save_seconds());
    if (stop) return stopped(state);
  }
  return RoundEnd::kTrained;
}

RoundTraining::Step RoundTraining::compute(const RunState& state) {
  Step step;
  const auto start = Clock::now();
  const double waited_before = loader_.waited_s();
  const comm::Traffic before = parts_.mesh.traffic();
  const OptimizerSection& optimizer = round_.optimizer.value;
  const BatchSection& batch = round_.batch.value;
  StepSettings settings;
  settings.adamw = {
      .lr = optimizer.lr *
            schedule_factor(schedule_, state.step - state.schedule_start, schedule_steps_),
      .beta1 = optimizer.betas[0],
      .beta2 = optimizer.betas[1],
      .eps = optimizer.eps,
      .weight_decay = optimizer.weight_decay};
  settings.adam_step = state.adam_step + 1;
  settings.clip = optimizer.clip;
  const int64_t round_step = state.round_step;
  const int64_t data_step = first_data_step_ + round_step;
  settings.refuse = [&](double loss, double grad_norm) -> std::string {
    if (parts_.skips.contains(state.round, state.attempt, round_step))
      return "the run has gone back because of it";
    return spike_of(parts_.config.spike, state.recent, loss, grad_norm);
  };
  step.result = parts_.stepper.run(
      StepData{.weight = loader_.weight(data_step),
               .micro_batches = loader_.micro_batches(),
               .next = [&](int64_t m) { return loader_.micro_batch(data_step, m); },
               .packs = batch.micro_packs.value,
               .seq_len = batch.seq_len},
      settings);
  step.lr = settings.adamw.lr;
  step.seconds = base::seconds_since(start);
  step.loader_wait_s = loader_.waited_s() - waited_before;
  step.communication = parts_.mesh.traffic() - before;
  return step;
}

Reaction RoundTraining::on_trouble(RunState& state, const StepResult& result) {
  const bool known = parts_.skips.contains(state.round, state.attempt, state.round_step);
  const Trouble trouble = result.not_finite.empty() ? Trouble::kSpike : Trouble::kNotFinite;
  const std::string what = result.not_finite.empty() ? result.refused : result.not_finite;
  const std::string text = fmt::format("round '{}', step {}: {}. Nothing was updated.", round_.name,
                                       state.step + 1, what);
  parts_.control.on_first([&] {
    auto examples = loader_.example_ids(first_data_step_ + state.round_step);
    const size_t count = examples.size();
    if (count > kMostExamples) examples.resize(kMostExamples);
    parts_.event({{"event", known ? "left_out" : std::string(name_of(trouble))},
                  {"step", state.step + 1},
                  {"text", text},
                  {"example_count", count},
                  {"examples", examples}});
  });
  if (known) return Reaction::kSkip;
  int64_t& skipped = trouble == Trouble::kNotFinite ? state.skipped : state.spikes;
  const int64_t times = ++skipped + parts_.skips.count(trouble);
  const Reaction reaction = react(parts_.config, trouble, text, times, parts_.console);
  if (reaction == Reaction::kSkip) return reaction;
  // The update before a jump may have caused it.
  const int64_t before = trouble == Trouble::kSpike ? 1 : 0;
  const SkippedSteps::Entry entry = {.round = state.round,
                                     .attempt = state.attempt,
                                     .first = std::max<int64_t>(0, state.round_step - before),
                                     .last = state.round_step,
                                     .trouble = std::string(name_of(trouble)),
                                     .text = text};
  parts_.control.on_first([&] { parts_.folder->skip_steps(entry); });
  return reaction;
}

bool RoundTraining::finish_pending(RunState& state) {
  if (state.pending_line.empty()) return true;
  const auto row = parts_.evaluate(round_.evaluate.value.max_examples, state.step);
  if (!row) return false;
  parts_.faults.reach("evaluated", state.step);
  log(with_evaluation(state.pending_line, *row));
  state.pending_line.clear();
  parts_.console.line("held-out loss (token accuracy): {}", in_words(*row));
  return true;
}

void RoundTraining::log(const std::string& line) {
  parts_.control.on_first([&] { parts_.metrics->append(line); });
}

RoundEnd RoundTraining::stopped(const RunState& state) {
  const auto reasons = parts_.control.gather_text(parts_.stop.reason());
  for (size_t rank = 0; rank < reasons.size(); ++rank) {
    if (reasons[rank].empty()) continue;
    parts_.console.line("stopped on request after step {} ({} on rank {}); start again to go on",
                        state.step, reasons[rank], rank);
    break;
  }
  parts_.stop.met();
  return RoundEnd::kStopped;
}

}  // namespace rondo::train
