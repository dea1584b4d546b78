#include "train/run.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>

#include "base/hash.hpp"
#include "data/loader.hpp"
#include "model/hf_config.hpp"
#include "train/answers.hpp"
#include "train/base_model.hpp"
#include "train/calibration.hpp"
#include "train/layout.hpp"
#include "train/metrics_log.hpp"
#include "train/model_source.hpp"
#include "train/outcomes.hpp"
#include "train/progress.hpp"
#include "train/round_finish.hpp"
#include "train/round_lengths.hpp"
#include "train/round_start.hpp"
#include "train/round_training.hpp"
#include "train/run_data.hpp"
#include "train/run_folder.hpp"
#include "train/run_layout.hpp"
#include "train/run_parts.hpp"
#include "train/run_sets.hpp"
#include "train/run_state.hpp"
#include "train/samples.hpp"
#include "train/saver.hpp"
#include "train/set_aside.hpp"
#include "train/starts.hpp"
#include "train/step.hpp"
#include "train/stop.hpp"
#include "train/tokenizer_files.hpp"
#include "train/weight_source.hpp"

namespace rondo::train {

namespace {

class Run {
 public:
  Run(const Config& config, comm::Control& control, comm::Group& group, base::Console& console,
      const RunHooks& hooks)
      : given_(config),
        original_(config),
        config_(config),
        control_(control),
        group_(group),
        console_(console),
        hooks_(hooks) {}

  // What ends a run before its rounds are done is an exit code.
  base::Exit go() {
    if (const auto early = prepare()) return *early;
    if (const std::string why = why_finished(*parts_, state_); !why.empty()) {
      console_.line("{}", why);
      state_.matrix.print(console_);
      return done();
    }
    for (;;) {
      const auto i = static_cast<size_t>(state_.round);
      if (!state_.round_trained) {
        const RoundEnd end = train_round(i);
        if (end == RoundEnd::kStopped) return base::Exit::kRequeue;
        if (end == RoundEnd::kStepsReached) {
          console_.line("run.max_steps = {} is reached", config_.run.max_steps);
          return done();
        }
        if (end == RoundEnd::kGoBack) {
          if (const auto early = go_back()) return *early;
          continue;
        }
      }
      Early early;
      switch (finish_round(*parts_, i, state_)) {
        case AfterRound::kGoOn:
          early = begin_round_after(i);
          break;
        case AfterRound::kSetAside:
          saver_->drop_optimizer(state_.round);
          early = go_back();
          break;
        case AfterRound::kStopped:
          return stopped_between();
        case AfterRound::kNeedsCommand:
          return wait_for_commands();
        case AfterRound::kEnded:
          return done();
      }
      if (early) return *early;
    }
  }

  // The run ends for another reason than a fault of the machine.
  void forget_starts_here() const {
    if (folder_ && !folder_->lost()) forget_starts(folder_->path("starts.json"));
  }

 private:
  using Early = std::optional<base::Exit>;

  base::Exit done() const {
    forget_starts_here();
    return base::Exit::kDone;
  }

  // A round without data is its start.
  RoundEnd train_round(size_t i) {
    if (config_.rounds[i].trains()) return RoundTraining(*parts_, i).run(state_);
    state_.round_trained = true;
    saver_->save_round(state_);
    return RoundEnd::kTrained;
  }

  // Collective. Folder, model, data, and the newest checkpoint.
  Early prepare() {
    const model::Shape shape = base_shape(config_, control_);
    std::optional<double> left;
    control_.agree([&] { left = seconds_left(config_, hooks_.started, hooks_.job_end); });
    control_.on_first([&] { folder_ = std::make_unique<RunFolder>(config_, console_); });
    prepare_to_stop(left);
    read_outcomes();
    control_.agree([&] { data_ = plan_data(config_, shape.vocab); });
    control_.on_first([&] { check_fresh(config_, data_); });
    skips_ = SkippedSteps(control_.broadcast_text(folder_ ? folder_->skipped_lines() : ""));
    // A checkpoint that cannot be gone on from, or a base that cannot be read, is refused before
    // anything in the folder changes.
    auto newest = find_newest(config_, control_, console_, allowed());
    if (newest) {
      control_.agree([&] { accept(*newest); });
    }
    machine_ = find_machine(hooks_.host, hooks_.gpu_memory, control_, group_);
    control_.agree([&] {
      layout_ = choose_layout(begun_layout(config_, state_, control_.size()), shape, machine_);
    });
    note_layout();
    mesh_ = std::make_unique<parallel::Mesh>(group_, layout_.mesh);
    model_ = std::make_unique<model::Model>(shape, *mesh_, layout_.training());
    stepper_ = std::make_unique<Stepper>(*model_, control_);
    control_.agree([&] { check_completions(config_, *model_); });
    make_saver();
    check_inits(config_, shape, newest ? static_cast<size_t>(state_.round) + 1 : 0, control_);
    hooks_.watchdog.enter("load", 0, base::Budget::kFixed);
    if (!newest) load_base(config_, *model_, control_, console_);
    hooks_.watchdog.enter("packing", 0, base::Budget::kNone);
    const auto asked = [this] { return !stop_->reason().empty(); };
    if (!ensure_packed(data_.all(), control_, group_, console_, asked)) return stopped_unsaved();
    hooks_.watchdog.enter("load", state_.step, base::Budget::kFixed);
    control_.agree([&] { sets_ = std::make_unique<RunSets>(data_, config_, shape.vocab); });
    if (newest) {
      control_.agree([&] { check_plans(); });
      restore_all(*newest, *model_, state_.has_optimizer, control_);
    }
    if (const auto early = count_this_start()) return early;
    control_.agree(
        [&] { choose_micro_batches(config_, state_, layout_, machine_, model_->shape()); });
    calibration_ = yardstick();
    print_settings(config_, hooks_.host, hooks_.gpu, *model_, layout_, most_rows(), calibration_,
                   control_, console_);
    if (!data_.other_tokenizer.empty()) console_.warn("{}", data_.other_tokenizer);
    control_.on_first([&] {
      folder_->event({{"event", newest ? "resumed" : "started"},
                      {"step", state_.step},
                      {"ranks", control_.size()},
                      {"version", hooks_.version}});
    });
    open_metrics();
    if (newest) {
      say_resumed(*newest);
      return {};
    }
    state_.model_config = model::write_hf_config(shape, {}, "float32");
    if (holds_tokenizer(config_.tokenizer_folder())) {
      state_.tokenizer =
          std::filesystem::absolute(config_.tokenizer_folder()).lexically_normal().string();
    }
    if (parts_->stop_wanted()) return stopped_unsaved();
    if (needs_base_row() && !evaluate_row(*parts_, state_, "base")) return stopped_unsaved();
    return begin_round_after({});
  }

  // Collective. FLOP/s over all ranks that the speed of a step is a share of.
  double yardstick() {
    if (hooks_.gpu.empty()) return calibrate(group_);
    const Peak peak = peak_of(hooks_.gpu);
    if (peak.measured) {
      console_.line("the peak of {} is not known here: shares are of {:.0f} TFLOP/s, measured",
                    hooks_.gpu, peak.flops / 1e12);
    }
    return peak.flops * control_.size();
  }

  void prepare_to_stop(std::optional<double> left) {
    StopRequests::Settings settings = {.signalled = hooks_.stop_requested, .file = {}, .end = {}};
    if (folder_) {
      settings.file = folder_->path("STOP");
      if (left) {
        settings.total_s = *left;
        settings.end =
            StopRequests::Clock::now() + std::chrono::duration_cast<StopRequests::Clock::duration>(
                                             std::chrono::duration<double>(*left));
      }
    }
    stop_.emplace(std::move(settings));
    // Whatever happens the processes are gone when the time is over.
    if (left) hooks_.end_in(*left);
  }

  void make_saver() {
    bool background = false;
    control_.agree([&] {
      background = room_for_snapshot(config_, layout_, machine_, Saver::snapshot_bytes(*model_));
    });
    Saver::Settings settings = {.writer_group = writer_group(machine_.hosts, control_.rank(),
                                                             config_.checkpoint.writers_per_node),
                                .background = control_.all_true(background),
                                .faults = &hooks_.faults,
                                .watchdog = &hooks_.watchdog};
    if (folder_) {
      settings.check_owner = [this] { folder_->check_owner(); };
      settings.event = [this](const nlohmann::json& event) { folder_->event(event); };
    }
    saver_ = std::make_unique<Saver>(config_, *model_, control_, console_, std::move(settings));
  }

  // Collective. The folder stays from here on. An exit code when too many starts brought nothing.
  Early count_this_start() {
    bool enough = false;
    int64_t before = 0;
    control_.on_first([&] {
      folder_->keep(given_);
      put_aside(config_, outcomes_);
      const std::string position =
          fmt::format("{} {} {}", state_.round, state_.step, state_.round_trained);
      const std::string setting = base::hash_hex(resolved_yaml(original_) + hooks_.version);
      before = count_starts(folder_->path("starts.json"), position, setting);
      enough = config_.run.most_restarts > 0 && before >= config_.run.most_restarts;
      if (!enough) return;
      forget_starts_here();
      folder_->event({{"event", "no_progress"}, {"step", state_.step}, {"starts", before}});
    });
    if (!control_.any_true(enough)) return {};
    console_.warn(
        "{} starts in a row ended without a new checkpoint (the newest is of step {}): the run is "
        "not started again. Look at the end of their output and at {}/events.jsonl; another start "
        "tries again. run.most_restarts = {} is the limit.",
        before, state_.step, config_.run_folder(), config_.run.most_restarts);
    return base::Exit::kNoProgress;
  }

  // The file of metrics as of the state, and what the rounds are trained with.
  void open_metrics() {
    control_.on_first([&] {
      folder_->check_owner();
      metrics_ = std::make_unique<MetricsLog>(folder_->path("metrics.jsonl"), state_.logged_step());
    });
    state_.skips = skips_.count();
    parts_.reset(new RunParts{.config = config_,
                              .control = control_,
                              .console = console_,
                              .faults = hooks_.faults,
                              .watchdog = hooks_.watchdog,
                              .stop = *stop_,
                              .folder = folder_.get(),
                              .metrics = metrics_.get(),
                              .mesh = *mesh_,
                              .model = *model_,
                              .stepper = *stepper_,
                              .data = data_,
                              .sets = *sets_,
                              .saver = *saver_,
                              .skips = skips_,
                              .calibration = calibration_,
                              .version = hooks_.version});
  }

  void say_resumed(const checkpoint::Checkpoint& from) {
    console_.line("resumed from {} (step {}, round {}, digest {})", from.path(), state_.step,
                  config_.rounds[static_cast<size_t>(state_.round)].name, from.digest());
    hooks_.faults.reach("resumed", state_.step);
  }

  // What of a run's checkpoints may be gone on from.
  std::function<bool(const nlohmann::json&)> allowed() const {
    return [this](const nlohmann::json& state) {
      return skips_.allow(state) && outcomes_.allow(state);
    };
  }

  // Collective. What gates have decided so far, to the rounds as they are now.
  void read_outcomes() {
    outcomes_ = Outcomes(control_.broadcast_text(folder_ ? folder_->ledger_lines() : ""));
    control_.agree([&] {
      for (size_t i = 0; i < config_.rounds.size(); ++i) {
        const RoundSection& given = given_.rounds[i];
        const int64_t attempt = std::min(outcomes_.attempt(given.name), std::ssize(given.retry));
        RoundSection tried = attempt_of(given, attempt);
        tried.set_aside = outcomes_.set_aside(given.name);
        original_.rounds[i] = tried;
        tried.batch = config_.rounds[i].batch;
        config_.rounds[i] = tried;
      }
    });
  }

  // The state before the first round, of a run that has come to `state_`.
  RunState at_base() const {
    RunState state;
    state.model_config = state_.model_config;
    state.tokenizer = state_.tokenizer;
    state.micro_packs = state_.micro_packs;
    state.ranks = state_.ranks;
    state.tensor = state_.tensor;
    state.zero = state_.zero;
    if (const auto* row = state_.matrix.row("base")) state.matrix.set("base", *row);
    return state;
  }

  // Collective. To the newest checkpoint from before what was found bad, or was set aside by a
  // gate, or to the very start.
  Early go_back() {
    saver_->finish();
    hooks_.watchdog.enter("load", state_.step, base::Budget::kFixed);
    skips_ = SkippedSteps(control_.broadcast_text(folder_ ? folder_->skipped_lines() : ""));
    read_outcomes();
    control_.on_first([&] {
      put_aside(config_, outcomes_);
      remove_refused(config_, skips_);
    });
    hooks_.faults.reach("put_aside", state_.step);
    const auto newest = find_newest(config_, control_, console_, allowed(), Resume::kAuto);
    if (newest) {
      control_.agree([&] { state_ = RunState::from_json(newest->state()); });
      note_layout();
      restore_all(*newest, *model_, state_.has_optimizer, control_);
    } else {
      state_ = at_base();
      load_base(config_, *model_, control_, console_);
      reset_moments();
    }
    control_.on_first([&] { folder_->event({{"event", "went_back"}, {"step", state_.step}}); });
    open_metrics();
    if (!newest) {
      console_.line("going back to the start of the run");
      return begin_round_after({});
    }
    say_resumed(*newest);
    if (!state_.round_trained) return {};
    // The end of a round stands for the start of the next one; it was finished before.
    const bool known = take_row(*parts_, state_).is_object();
    const std::string& name = config_.rounds[static_cast<size_t>(state_.round)].name;
    if (!known && sets_->any_heldout() && !evaluate_row(*parts_, state_, name)) {
      return stopped_between();
    }
    return begin_round_after(static_cast<size_t>(state_.round));
  }

  base::Exit stopped_unsaved() {
    console_.line("stopped on request before the first step; nothing is to be saved yet");
    stop_->met();
    return base::Exit::kRequeue;
  }

  // The counters of a checkpoint of this very recipe and data.
  void accept(const checkpoint::Checkpoint& newest) {
    state_ = RunState::from_json(newest.state());
    check_same_rounds(state_, config_);
    for (const size_t i : schedule_mates(config_.rounds, static_cast<size_t>(state_.round))) {
      if (!config_.rounds[i].trains()) continue;
      if (data_.rounds[i].sources.empty()) {
        base::fail_user(
            "{}: round '{}' was begun on samples that are not there any more, in {}/rounds/{}/"
            "samples. Put them back, or use another run.name.",
            config_.place, config_.rounds[i].name, config_.run_folder(), config_.rounds[i].name);
      }
      check_same_data(data_.rounds[i], config_.place, config_.rounds[i].name);
    }
  }

  // Rounds that were begun go on with the steps they had.
  void check_plans() const {
    for (const size_t i : schedule_mates(config_.rounds, static_cast<size_t>(state_.round))) {
      const std::string& name = config_.rounds[i].name;
      if (!config_.rounds[i].trains()) continue;
      const std::string& before = state_.plan_hashes.at(name);
      if (before != sets_->round(i).plan_hash()) {
        base::fail_user(
            "{}: round '{}' was begun, or its schedule was, on other data (plan {} then, {} now). "
            "Put the data back, or use another run.name.",
            config_.place, name, before, sets_->round(i).plan_hash());
      }
    }
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
    bool first = true;  // until a round is sure to stand before
    for (const RoundSection& round : config_.rounds) {
      bool may_fall = false;
      for (const GateSection& gate : round.gate) {
        needed = needed || (gate.compares() && (first || gate.relative_to != "previous"));
        may_fall = may_fall || gate.otherwise == "rollback" || gate.otherwise == "retry";
      }
      first = first && may_fall;
    }
    return needed;
  }

  // commands.json says what is to be run before the next start.
  base::Exit wait_for_commands() {
    forget_starts_here();
    console_.line(
        "what comes next is judged by a command: {}/commands.json says which. launch/rounds {} "
        "runs "
        "it and goes on.",
        config_.run_folder(), config_.place);
    return base::Exit::kCommands;
  }

  // A checkpoint of this place is there: of the end of the round before.
  base::Exit stopped_between() {
    console_.line("stopped on request after step {}; start again to go on", state_.step);
    stop_->met();
    return base::Exit::kRequeue;
  }

  // Collective. Begins the round after `i` of those that are not set aside; after the last one the
  // run is done. Nothing: the base model.
  Early begin_round_after(std::optional<size_t> i) {
    if (const auto next = round_after(config_, i)) return begin_round(*next);
    console_.line("done: {} rounds, {} steps; results in {}", config_.rounds.size(), state_.step,
                  config_.run_folder());
    return done();
  }

  // Packs, weights, optimizer state and counters at the start of round i.
  Early begin_round(size_t i) {
    const RoundSection& round = config_.rounds[i];
    bool changed = false;
    switch (make_samples(*parts_, i, state_, changed)) {
      case Made::kAll:
        break;
      case Made::kStopped:
        return stopped_between();
      case Made::kNeedsCommand:
        return wait_for_commands();
    }
    if (!pack_again(i)) return stopped_between();
    hooks_.watchdog.enter("load", state_.step, base::Budget::kFixed);
    auto parents = start_weights(*parts_, round.init, i, state_, changed);
    if (!parents) return stopped_between();
    state_.parents = std::move(*parents);
    take_optimizer(round);
    state_.has_optimizer = true;
    state_.round = static_cast<int64_t>(i);
    state_.attempt = outcomes_.attempt(round.name);
    state_.round_step = 0;
    state_.round_trained = false;
    state_.round_configs[round.name] = round_yaml(original_, i);
    for (const size_t k : schedule_mates(config_.rounds, i)) {
      if (config_.rounds[k].trains()) {
        state_.plan_hashes[config_.rounds[k].name] = sets_->round(k).plan_hash();
      }
    }
    state_.start_digest = digest_of(*model_, false);
    take_turns(round, data_.turns[i]);
    // After the round before these weights have a row already.
    if (round.init.kind == Init::Kind::kCheckpoint && round.evaluate.value.at_start &&
        sets_->any_heldout() && !evaluate_row(*parts_, state_, round.name + ", start")) {
      return stopped_between();
    }
    hooks_.faults.reach("round_begun", state_.step);
    return {};
  }

  // Collective. The packs of round i and of those that share its schedule, where other rounds than
  // was thought at the start stand before them, or it is tried again. False when a stop has cut it
  // short.
  bool pack_again(size_t i) {
    for (const size_t k : schedule_mates(config_.rounds, i)) {
      bool changed = false;
      control_.agree([&] { changed = plan_round_again(config_, k, model_->shape().vocab, data_); });
      if (!control_.any_true(changed)) continue;
      hooks_.watchdog.enter("packing", 0, base::Budget::kNone);
      const auto asked = [this] { return !stop_->reason().empty(); };
      if (!ensure_packed({&data_.rounds[k]}, control_, group_, console_, asked)) return false;
      control_.agree([&] { sets_->open_round(k, data_.rounds[k], model_->shape().vocab); });
    }
    return true;
  }

  void reset_moments() {
    for (size_t u = 0; u < model_->unit_count(); ++u) model_->unit(u).reset_moments();
  }

  void note_layout() {
    state_.ranks = control_.size();
    state_.tensor = layout_.mesh.tensor;
    state_.zero = layout_.zero;
  }

  void take_optimizer(const RoundSection& round) {
    if (round.optimizer_state != "carry") state_.schedule_start = state_.step;
    if (round.optimizer_state == "reset") {
      reset_moments();
      state_.adam_step = 0;
    } else if (!state_.has_optimizer) {
      base::fail_user(
          "{}: round '{}' carries the optimizer state, but the checkpoint of the round "
          "before holds weights alone. Use optimizer_state: reset.",
          config_.place, round.name);
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

  const Config given_;
  // As the rounds are now: those that were set aside are marked, and one that is tried again has
  // other keys.
  Config original_;  // with `auto` as it was given
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
  SkippedSteps skips_;
  Outcomes outcomes_;
  std::optional<StopRequests> stop_;
  double calibration_ = 0;
  std::unique_ptr<RunParts> parts_;
};

}  // namespace

base::Exit run(const Config& config, comm::Control& control, comm::Group& group,
               base::Console& console, const RunHooks& hooks) {
  control.agree([&] { check_ranks(config, control.size()); });
  control.same_on_all_ranks(base::hash_hex(resolved_yaml(config)), "the configuration");
  control.same_on_all_ranks(hooks.version, "the program");
  Run run(config, control, group, console, hooks);
  try {
    return run.go();
  } catch (const base::UserError&) {
    run.forget_starts_here();
    throw;
  }
}

}  // namespace rondo::train
