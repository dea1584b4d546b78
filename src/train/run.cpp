#include "train/run.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/hash.hpp"
#include "data/loader.hpp"
#include "model/hf_config.hpp"
#include "train/base_model.hpp"
#include "train/calibration.hpp"
#include "train/evaluation.hpp"
#include "train/layout.hpp"
#include "train/ledger_line.hpp"
#include "train/memory.hpp"
#include "train/metrics_line.hpp"
#include "train/metrics_log.hpp"
#include "train/model_source.hpp"
#include "train/non_finite.hpp"
#include "train/progress.hpp"
#include "train/round_export.hpp"
#include "train/round_lengths.hpp"
#include "train/run_data.hpp"
#include "train/run_folder.hpp"
#include "train/run_sets.hpp"
#include "train/run_state.hpp"
#include "train/saver.hpp"
#include "train/schedule.hpp"
#include "train/step.hpp"
#include "train/tokenizer_files.hpp"

namespace rondo::train {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Run {
 public:
  Run(const Config& config, comm::Control& control, comm::Group& group, base::Console& console,
      const RunHooks& hooks)
      : original_(config),
        config_(config),
        control_(control),
        group_(group),
        console_(console),
        hooks_(hooks) {}

  base::Exit go() {
    prepare();
    if (const std::string why = finished(); !why.empty()) {
      console_.line("{}", why);
      state_.matrix.print(console_);
      return base::Exit::kDone;
    }
    for (auto i = static_cast<size_t>(state_.round); i < config_.rounds.size(); ++i) {
      if (!state_.round_trained) {
        if (const auto early = train_round(i)) return *early;
      }
      if (!finish_round(i)) return base::Exit::kDone;
      if (i + 1 < config_.rounds.size()) begin_round(i + 1);
    }
    console_.line("done: {} rounds, {} steps; results in {}", config_.rounds.size(), state_.step,
                  config_.run_folder());
    return base::Exit::kDone;
  }

 private:
  // Folder, model, data, and the newest checkpoint.
  void prepare() {
    const model::Shape shape = base_shape(config_, control_);
    control_.on_first([&] { folder_ = std::make_unique<RunFolder>(config_, console_); });
    control_.agree([&] { data_ = plan_data(config_, shape.vocab); });
    control_.on_first([&] { check_fresh(config_, data_); });
    // A checkpoint that cannot be gone on from, or a base that cannot be read, is refused before
    // anything in the folder changes.
    auto newest = find_newest(config_, control_, console_);
    if (newest) {
      control_.agree([&] { accept(*newest); });
    }
    find_machine();
    control_.agree([&] { layout_ = choose_layout(begun_layout(), shape, machine_); });
    state_.ranks = control_.size();
    state_.tensor = layout_.mesh.tensor;
    state_.zero = layout_.zero;
    mesh_ = std::make_unique<parallel::Mesh>(group_, layout_.mesh);
    model_ = std::make_unique<model::Model>(shape, *mesh_, layout_.training());
    stepper_ = std::make_unique<Stepper>(*model_, control_);
    saver_ = std::make_unique<Saver>(config_, *model_, control_, console_);
    check_inits(shape, newest ? static_cast<size_t>(state_.round) + 1 : 0);
    if (!newest) load_base();
    ensure_packed(data_, control_, group_, console_);
    control_.agree([&] { sets_ = std::make_unique<RunSets>(data_, config_, shape.vocab); });
    if (newest) {
      control_.agree([&] { resume(*newest); });
    }
    control_.on_first([&] { folder_->keep(config_); });
    choose_micro_batches();
    calibration_ = calibrate(group_);
    print_settings(config_, hooks_.host, *model_, layout_, most_rows(), calibration_, control_,
                   console_);
    if (!data_.other_tokenizer.empty()) console_.warn("{}", data_.other_tokenizer);
    control_.on_first([&] {
      metrics_ = std::make_unique<MetricsLog>(folder_->path("metrics.jsonl"), state_.step);
      folder_->event({{"event", newest ? "resumed" : "started"},
                      {"step", state_.step},
                      {"ranks", control_.size()},
                      {"version", hooks_.version}});
    });
    if (newest) {
      console_.line("resumed from {} (step {}, round {}, digest {})", newest->path(), state_.step,
                    config_.rounds[static_cast<size_t>(state_.round)].name, newest->digest());
      return;
    }
    state_.model_config = model::write_hf_config(shape, {}, "float32");
    if (holds_tokenizer(config_.tokenizer_folder())) {
      state_.tokenizer =
          std::filesystem::absolute(config_.tokenizer_folder()).lexically_normal().string();
    }
    if (needs_base_row()) evaluate_row("base");
    begin_round(0);
  }

  void load_base() {
    if (config_.model.from) {
      load_weights(*config_.model.from, *model_, rows_of(config_), control_, console_);
    } else {
      model_->initialise(static_cast<uint64_t>(config_.run.seed));
    }
  }

  // Checkpoints that rounds from `first` on start from, before hours go into the rounds before. One
  // that this run is still to write cannot be looked at yet.
  void check_inits(const model::Shape& shape, size_t first) {
    const auto own = std::filesystem::weakly_canonical(config_.run_folder() + "/checkpoints");
    for (size_t i = first; i < config_.rounds.size(); ++i) {
      const Init& init = config_.rounds[i].init;
      if (init.kind != Init::Kind::kCheckpoint) continue;
      const auto path = std::filesystem::weakly_canonical(init.checkpoint);
      bool later = false;
      control_.on_first(
          [&] { later = path.parent_path() == own && !is_checkpoint(path.string()); });
      if (control_.any_true(later)) continue;
      check_same_model(init.checkpoint, shape, rows_of(config_), control_);
    }
  }

  // The counters of a checkpoint of this very recipe and data.
  void accept(const checkpoint::Checkpoint& newest) {
    state_ = RunState::from_json(newest.state());
    check_same_rounds(state_, config_);
    for (const size_t i : schedule_mates(config_.rounds, static_cast<size_t>(state_.round))) {
      check_same_data(data_.rounds[i], config_.place, config_.rounds[i].name);
    }
  }

  void resume(const checkpoint::Checkpoint& newest) {
    for (const size_t i : schedule_mates(config_.rounds, static_cast<size_t>(state_.round))) {
      const std::string& name = config_.rounds[i].name;
      const std::string& before = state_.plan_hashes.at(name);
      if (before != sets_->round(i).plan_hash()) {
        base::fail_user(
            "{}: round '{}' was begun, or its schedule was, on other data (plan {} then, {} now). "
            "Put the data back, or use another run.name.",
            config_.place, name, before, sets_->round(i).plan_hash());
      }
    }
    restore(newest, *model_, state_.has_optimizer);
  }

  // Collective over all ranks. The least memory of any rank counts for all.
  void find_machine() {
    machine_.hosts = control_.gather_text(hooks_.host);
    const auto on_host = std::ranges::count(machine_.hosts, hooks_.host);
    at::Tensor least = at::full({1}, -available_memory(static_cast<int>(on_host)), at::kLong);
    group_.all_max(least, comm::Purpose::kControl).wait();
    machine_.memory = -least.item<int64_t>();
  }

  // The configuration, `auto` of the layout being what the run began with on as many ranks: another
  // would add up in another order.
  Config begun_layout() const {
    Config config = config_;
    if (state_.ranks != control_.size()) return config;
    if (config.parallel.tensor.automatic()) config.parallel.tensor.value = state_.tensor;
    if (config.parallel.zero.automatic()) config.parallel.zero.value = state_.zero;
    return config;
  }

  // `auto` becomes what the memory allows, or what the run began with.
  void choose_micro_batches() {
    // A quarter of the memory, and no more than the state and what a step needs besides leave.
    const plan::Memory& planned = layout_.memory;
    const int64_t budget =
        std::min(machine_.memory / 4, machine_.memory - (planned.peak() - planned.activations));
    for (auto& round : config_.rounds) {
      BatchSection& batch = round.batch.value;
      if (!batch.micro_packs.automatic()) continue;
      const int64_t per_rank = batch.packs / mesh_->size().data();
      const auto before = state_.micro_packs.find(round.name);
      const bool usable = before != state_.micro_packs.end() && per_rank % before->second == 0;
      batch.micro_packs.value =
          usable ? before->second
                 : choose_micro_packs(layout_, model_->shape(), batch.seq_len, per_rank, budget);
      state_.micro_packs[round.name] = batch.micro_packs.value;
    }
    control_.agree([&] {
      for (const auto& round : config_.rounds) {
        const BatchSection& batch = round.batch.value;
        if (batch.read_ahead.automatic()) continue;
        data::check_read_ahead(batch.read_ahead.value, batch.micro_packs.value);
      }
    });
  }

  int64_t most_rows() const {
    int64_t rows = 0;
    for (const auto& round : config_.rounds) {
      rows = std::max(rows, round.batch.value.micro_packs.value * round.batch.value.seq_len);
    }
    return rows;
  }

  bool needs_base_row() const {
    if (!sets_->any_heldout()) return false;
    bool needed = config_.rounds.front().evaluate.value.at_start;
    for (size_t i = 0; i < config_.rounds.size(); ++i) {
      const auto& gate = config_.rounds[i].gate;
      if (gate && (i == 0 || gate->relative_to != "previous")) needed = true;
    }
    return needed;
  }

  void evaluate_row(const std::string& name) {
    const auto evaluator =
        sets_->evaluator(config_.evaluate.max_examples, config_, mesh_->data(), control_);
    state_.matrix.set(name, evaluator.evaluate(*stepper_));
    control_.on_first([&] {
      folder_->event({{"event", "evaluated"},
                      {"row", name},
                      {"step", state_.step},
                      {"evaluate", to_json(*state_.matrix.row(name))}});
    });
    state_.matrix.print(console_);
  }

  // Weights, optimizer state and counters at the start of round i.
  void begin_round(size_t i) {
    const RoundSection& round = config_.rounds[i];
    // The first round starts from the base, which is loaded.
    if (round.init.kind == Init::Kind::kBase && i > 0) load_base();
    if (round.init.kind == Init::Kind::kCheckpoint) {
      load_weights(round.init.checkpoint, *model_, rows_of(config_), control_, console_);
    }
    if (round.optimizer_state == "reset") {
      for (size_t u = 0; u < model_->unit_count(); ++u) {
        model_->unit(u).reset_moments();
      }
      state_.adam_step = 0;
      state_.schedule_start = state_.step;
    } else if (!state_.has_optimizer) {
      base::fail_user(
          "{}: round '{}' carries the optimizer state, but the checkpoint of the round "
          "before holds weights alone. Use optimizer_state: reset.",
          config_.place, round.name);
    }
    state_.has_optimizer = true;
    state_.round = static_cast<int64_t>(i);
    state_.round_step = 0;
    state_.round_trained = false;
    state_.round_configs[round.name] = round_yaml(original_, i);
    for (const size_t k : schedule_mates(config_.rounds, i)) {
      state_.plan_hashes[config_.rounds[k].name] = sets_->round(k).plan_hash();
    }
    state_.start_digest = weights_digest(*model_);
    take_turns(round, data_.turns[i]);
    // After the round before these weights have a row already.
    if (round.init.kind == Init::Kind::kCheckpoint && round.evaluate.value.at_start &&
        sets_->any_heldout()) {
      evaluate_row(round.name + ", start");
    }
  }

  // What the model will stop at, and be prompted by.
  void take_turns(const RoundSection& round, const Turns& turns) {
    for (const int64_t id : turns.end_of_turn) {
      if (std::ranges::find(state_.end_of_turn, id) == state_.end_of_turn.end()) {
        state_.end_of_turn.push_back(id);
      }
    }
    state_.chat_template = turns.chat_templates.size() == 1 ? turns.chat_templates.front() : "";
    if (turns.chat_templates.size() > 1) {
      console_.warn(
          "the sources of round '{}' have {} different chat templates: its model is exported with "
          "the tokenizer's own",
          round.name, turns.chat_templates.size());
    }
  }

  // Steps of round i from where the state stands. Returns an exit code when the run ends here.
  std::optional<base::Exit> train_round(size_t i) {
    const RoundSection& round = config_.rounds[i];
    const RoundLengths lengths(config_.rounds, sets_->packs_of_rounds());
    const int64_t total = lengths.steps(i);
    const int64_t epoch = lengths.steps_per_epoch(i);
    const size_t schedule_round = lengths.schedule_round(i);
    const int64_t schedule_total = lengths.schedule_steps(i);
    const ScheduleSection& schedule = config_.rounds[schedule_round].schedule.value;
    const OptimizerSection& optimizer = round.optimizer.value;
    const BatchSection& batch = round.batch.value;
    const int64_t ahead =
        batch.read_ahead.automatic() ? 2 * batch.micro_packs.value : batch.read_ahead.value;
    data::Loader loader(sets_->round(i), {.packs_per_step = batch.packs,
                                          .micro_packs = batch.micro_packs.value,
                                          .rank = mesh_->data().rank(),
                                          .size = mesh_->data().size(),
                                          .seed = static_cast<uint64_t>(config_.run.seed) + i,
                                          .average = average_of(config_),
                                          .read_ahead = ahead});
    console_.line("round {}: {} steps ({:.2f} epochs of {} packs)", round.name, total,
                  static_cast<double>(total) / static_cast<double>(epoch), sets_->round(i).packs());
    ProgressLine progress(console_, round.name, state_.round_step, total, config_.run.print_every);
    while (state_.round_step < total) {
      if (config_.run.max_steps > 0 && state_.step >= config_.run.max_steps) {
        console_.line("run.max_steps = {} is reached", config_.run.max_steps);
        return base::Exit::kDone;
      }
      // Until something is saved: then ranks work for others.
      std::optional<comm::ControlDeadline> deadline(std::in_place, control_,
                                                    config_.parallel.deadline_s);
      const auto start = Clock::now();
      const double waited_before = loader.waited_s();
      const double factor =
          schedule_factor(schedule, state_.step - state_.schedule_start, schedule_total);
      StepSettings settings;
      settings.adamw = {.lr = optimizer.lr * factor,
                        .beta1 = optimizer.betas[0],
                        .beta2 = optimizer.betas[1],
                        .eps = optimizer.eps,
                        .weight_decay = optimizer.weight_decay};
      settings.adam_step = state_.adam_step + 1;
      settings.clip = optimizer.clip;
      const int64_t round_step = state_.round_step;
      const comm::Traffic before = mesh_->traffic();
      const StepResult result = stepper_->run(
          StepData{.weight = loader.weight(round_step),
                   .micro_batches = loader.micro_batches(),
                   .next = [&](int64_t m) { return loader.micro_batch(round_step, m); },
                   .packs = batch.micro_packs.value,
                   .seq_len = batch.seq_len},
          settings);
      const double seconds = seconds_since(start);
      const comm::Traffic communication = mesh_->traffic() - before;
      if (!result.updated) not_finite(round, result);
      if (result.updated) ++state_.adam_step;
      ++state_.step;
      ++state_.round_step;

      std::optional<EvaluationRow> row;
      const EvaluateSection& evaluate = round.evaluate.value;
      const bool evaluates = sets_->any_heldout() && state_.round_step < total &&
                             is_due(evaluate.every, state_.round_step, epoch);
      if (evaluates) {
        row = sets_->evaluator(evaluate.max_examples, config_, mesh_->data(), control_)
                  .evaluate(*stepper_);
      }
      const double speed = result.totals.flops / seconds / calibration_;
      log_step({.round = round.name,
                .step = state_.step,
                .round_step = state_.round_step,
                .result = result,
                .lr = settings.adamw.lr,
                .seconds = seconds,
                .loader_wait_seconds = loader.waited_s() - waited_before,
                .communication = communication,
                .fraction_of_calibration = speed,
                .evaluation = row});
      progress.show({.done = state_.round_step,
                     .loss = result.totals.loss(),
                     .tokens_per_s = result.totals.real_tokens / seconds,
                     .trainable_per_s = result.totals.trainable_tokens / seconds,
                     .calibration_share = speed});
      if (row) console_.line("held-out loss (token accuracy): {}", in_words(*row));

      const bool stop = control_.any_true(hooks_.stop_requested());
      const bool due = control_.any_true(control_.is_first() && saver_->due(state_, epoch));
      deadline.reset();
      if (state_.round_step == total) {
        state_.round_trained = true;
        control_.on_first([&] { metrics_->sync(); });
        saver_->save_round(state_);
        return stop ? stopped() : std::nullopt;
      }
      const bool reached = config_.run.max_steps > 0 && state_.step >= config_.run.max_steps;
      if (stop || reached || due) {
        control_.on_first([&] { metrics_->sync(); });
        saver_->save_step(state_);
      }
      if (stop) return stopped();
    }
    return std::nullopt;
  }

  std::optional<base::Exit> stopped() {
    console_.line("stopped on request after step {}; start again to go on", state_.step);
    return base::Exit::kRequeue;
  }

  void not_finite(const RoundSection& round, const StepResult& result) {
    const std::string text = fmt::format("round '{}', step {}: {}. Nothing was updated.",
                                         round.name, state_.step + 1, result.not_finite);
    control_.on_first([&] {
      folder_->event({{"event", "not_finite"}, {"step", state_.step + 1}, {"text", text}});
    });
    ++state_.skipped;
    skip_or_stop(config_.non_finite, text, state_.skipped, console_);
  }

  void log_step(const StepRecord& record) {
    control_.on_first([&] { metrics_->append(metrics_line(record)); });
  }

  // Evaluation, gate, export, ledger. False when the gate ends the run.
  bool finish_round(size_t i) {
    const RoundSection& round = config_.rounds[i];
    if (sets_->any_heldout()) evaluate_row(round.name);
    nlohmann::json gate_json;
    bool go_on = true;
    if (round.gate) {
      const std::string previous = i == 0 ? "base" : config_.rounds[i - 1].name;
      const auto verdict = judge(*round.gate, state_.matrix, round.name, previous);
      gate_json = verdict.json;
      go_on = verdict.held || round.gate->otherwise != "stop";
      if (verdict.held) {
        console_.line("gate holds: {}", verdict.text);
      } else {
        console_.warn("gate of round '{}' fails: {} ({})", round.name, verdict.text,
                      round.gate->otherwise);
      }
    }
    const std::string exported = export_round(round);
    control_.on_first([&] {
      const std::string saved = "checkpoints/" + saver_->round_name(static_cast<int64_t>(i));
      folder_->ledger(ledger_line({.config = config_,
                                   .round = i,
                                   .state = state_,
                                   .packed = data_.rounds[i],
                                   .checkpoint = folder_->path(saved),
                                   .exported = exported,
                                   .gate = gate_json,
                                   .ranks = control_.size(),
                                   .version = hooks_.version}));
    });
    if (i > 0) saver_->drop_optimizer(static_cast<int64_t>(i) - 1);
    if (!go_on)
      console_.line("the run ends here: gate.otherwise of round '{}' is stop", round.name);
    return go_on;
  }

  std::string export_round(const RoundSection& round) {
    if (!config_.exports.rounds) return "";
    const std::string target = exported_folder(config_, round);
    train::export_round(config_, state_, *model_, target, control_);
    console_.line("exported {}", target);
    if (!holds_tokenizer(config_.tokenizer_folder())) {
      console_.warn("{} has no tokenizer, as none is named: give `tokenizer: FOLDER`", target);
    }
    return target;
  }

  // The ledger line of a round that ended as its checkpoint says, its model exported.
  std::optional<nlohmann::json> line_of_end(size_t i) const {
    const RoundSection& round = config_.rounds[i];
    auto line = folder_->ledger_line(round.name);
    if (!line) return {};
    const std::string saved =
        folder_->path("checkpoints/" + saver_->round_name(static_cast<int64_t>(i)));
    const bool same = line->value("result_digest", "") == stored_digest(saved);
    const bool exported =
        !config_.exports.rounds || std::filesystem::exists(exported_folder(config_, round));
    if (!same || !exported) return {};
    return line;
  }

  // Why there is nothing to do: the last round has ended, or a gate has ended the run. Empty when
  // there is.
  std::string finished() {
    if (!state_.round_trained) return {};
    const auto index = static_cast<size_t>(state_.round);
    std::string text;
    control_.on_first([&] {
      if (const auto line = line_of_end(index)) text = line->dump();
    });
    text = control_.broadcast_text(text);
    if (text.empty()) return {};
    const auto line = nlohmann::json::parse(text);
    state_.matrix.set(config_.rounds[index].name, row_from_json(line.at("heldout")));
    if (ended_by_gate(line)) {
      return fmt::format("the gate of round '{}' has ended this run", config_.rounds[index].name);
    }
    if (index + 1 < config_.rounds.size()) return {};
    return fmt::format("all {} rounds are done", config_.rounds.size());
  }

  const Config original_;  // with `auto` as it was given
  Config config_;
  comm::Control& control_;
  comm::Group& group_;
  base::Console& console_;
  const RunHooks& hooks_;

  std::unique_ptr<RunFolder> folder_;    // on rank 0
  std::unique_ptr<MetricsLog> metrics_;  // on rank 0
  RunData data_;
  std::unique_ptr<RunSets> sets_;
  Machine machine_;
  Layout layout_;
  std::unique_ptr<parallel::Mesh> mesh_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<Stepper> stepper_;
  std::unique_ptr<Saver> saver_;
  RunState state_;
  double calibration_ = 0;
};

}  // namespace

base::Exit run(const Config& config, comm::Control& control, comm::Group& group,
               base::Console& console, const RunHooks& hooks) {
  control.agree([&] { check_ranks(config, control.size()); });
  control.same_on_all_ranks(base::hash_hex(resolved_yaml(config)), "the configuration");
  control.same_on_all_ranks(hooks.version, "the program");
  return Run(config, control, group, console, hooks).go();
}

}  // namespace rondo::train
