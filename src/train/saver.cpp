#include "train/saver.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/units.hpp"
#include "parallel/copies.hpp"
#include "train/model_source.hpp"

namespace rondo::train {

namespace {

std::string checkpoints_of(const Config& config) { return config.run_folder() + "/checkpoints"; }

using Clock = std::chrono::steady_clock;

// Collective over all ranks.
void check_copies(const model::Model& model, int64_t step, comm::Control& control) {
  std::string differing;
  for (size_t u = 0; u < model.unit_count(); ++u) {
    const std::string text = parallel::differing_copy(model.unit(u));
    if (differing.empty()) differing = text;
  }
  control.agree([&] {
    if (differing.empty()) return;
    throw base::SystemError(fmt::format(
        "after step {}: {}, though both computed the same; no checkpoint was saved. The "
        "checkpoints before are good. Test the memory of these hosts, or report a bug in rondo.",
        step, differing));
  });
}

}  // namespace

std::optional<checkpoint::Checkpoint> find_newest(
    const Config& config, comm::Control& control, base::Console& console,
    const std::function<bool(const nlohmann::json& state)>& allowed, Resume resume) {
  const std::string folder = checkpoints_of(config);
  control.on_first([&] { checkpoint::clean(folder, console); });
  const auto verify = config.checkpoint.verify == "full" ? checkpoint::Verify::kFull
                                                         : checkpoint::Verify::kManifest;
  const auto accept = [&](const std::string& /*name*/, const nlohmann::json& state) {
    // In the middle of a round weights alone cannot be gone on from.
    const bool whole = state.value("has_optimizer", false) || state.value("round_trained", false);
    return whole && (!allowed || allowed(state));
  };
  auto found = checkpoint::Checkpoint::open_newest(folder, control, console, verify, accept);
  if (resume == Resume::kAuto) return found;
  if (found && config.checkpoint.resume == "never") {
    base::fail_user(
        "checkpoint.resume is never, but {} holds {}. Use another run.name, or resume: "
        "auto.",
        folder, found->name());
  }
  if (!found && config.checkpoint.resume == "must") {
    base::fail_user("checkpoint.resume is must, but {} holds no checkpoint.", folder);
  }
  return found;
}

void remove_refused(const Config& config, const SkippedSteps& skips) {
  const std::string folder = checkpoints_of(config);
  for (const auto& listed : checkpoint::list(folder)) {
    if (!listed.damage.empty() || skips.allow(listed.state)) continue;
    checkpoint::delete_folder(checkpoint::put_aside(folder, listed.name));
  }
}

int writer_group(const std::vector<std::string>& hosts, int rank, int64_t writers_per_node) {
  if (writers_per_node == 0) return 0;
  const auto index = static_cast<size_t>(rank);
  const auto first = std::ranges::find(hosts, hosts[index]);
  const int64_t on_host = std::ranges::count(hosts, hosts[index]);
  const int64_t place = std::count(hosts.begin(), hosts.begin() + rank, hosts[index]);
  const int64_t writers = std::min(writers_per_node, on_host);
  // Numbers below the ranks, so that no two hosts meet: the first rank of each host has its own.
  const int64_t host = first - hosts.begin();
  return static_cast<int>(host * std::ssize(hosts) + place * writers / on_host);
}

namespace {

bool on_device(const model::Model& model) { return !model.settings().state.device.is_cpu(); }

}  // namespace

int64_t Saver::snapshot_bytes(const model::Model& model) {
  int64_t elements = 0;
  for (size_t u = 0; u < model.unit_count(); ++u) {
    const parallel::Unit& unit = model.unit(u);
    if (on_device(model)) {  // all that it owns, padding included
      elements += unit.layout().shard_numel();
      continue;
    }
    parallel::for_each_written_block(
        unit, [&](size_t /*parameter*/, const parallel::StoredBlock& block,
                  const parallel::OwnedSegment& /*segment*/) { elements += block.global.size(); });
  }
  return int64_t{3 * sizeof(float)} * elements;
}

Saver::Saver(const Config& config, model::Model& model, comm::Control& control,
             base::Console& console, Settings settings)
    : config_(config),
      model_(model),
      control_(control),
      console_(console),
      settings_(std::move(settings)),
      folder_(checkpoints_of(config)),
      // The copy of what is on a device is a snapshot by itself.
      writer_(control, settings_.background && !on_device(model) ? snapshot_bytes(model) / 4 : 0),
      last_begin_(Clock::now()) {
  if (on_device(model)) host_.emplace(model, true);
}

Saver::~Saver() {
  if (sweeper_.joinable()) sweeper_.join();
}

std::string Saver::round_name(int64_t round) const {
  return fmt::format("round-{:02}-{}", round, config_.rounds.at(static_cast<size_t>(round)).name);
}

std::set<std::string> Saver::round_names() const {
  std::set<std::string> names;
  for (size_t i = 0; i < config_.rounds.size(); ++i) {
    names.insert(round_name(static_cast<int64_t>(i)));
  }
  return names;
}

bool Saver::due(const RunState& state, int64_t steps_per_epoch) const {
  const Interval& every = config_.checkpoint.every;
  if (every.steps > 0) return state.step % every.steps == 0;
  if (every.epoch) return state.round_step % steps_per_epoch == 0;
  return every.seconds > 0 && base::seconds_since(last_begin_) >= every.seconds;
}

void Saver::reach(std::string_view point, int64_t step, const std::string& path) const {
  if (settings_.faults == nullptr || !settings_.faults->reach(point, step)) return;
  // As a disk would: one bit in the middle of the first shard.
  base::File shard = base::File::open_write(path + "/shard-0000.h5");
  std::byte byte{};
  shard.read_at(shard.size() / 2, std::span(&byte, 1));
  byte ^= std::byte{1};
  shard.write_at(shard.size() / 2, std::span(&byte, 1));
}

void Saver::watch(int64_t step) const {
  if (settings_.watchdog == nullptr) return;
  settings_.watchdog->enter("save", step, base::Budget::kFixed);
}

void Saver::begin(const RunState& state, const std::string& name, bool must) {
  watch(state.step);
  check_copies(model_, state.step, control_);
  checkpoint::SaveRequest request;
  request.folder = folder_;
  request.name = name;
  request.step = state.step;
  request.tensors = logical_tensors(model_, true);
  if (!host_) host_.emplace(model_, true);
  host_->read();
  request.pieces = host_->pieces();
  request.state = state.to_json(config_);
  request.writer_group = settings_.writer_group;
  request.finite = true;
  request.check_owner = settings_.check_owner;
  request.fault = [this, step = state.step, path = folder_ + "/" + name](std::string_view point) {
    reach(point, step, path);
  };
  saving_ = name;
  saving_step_ = state.step;
  last_begin_ = Clock::now();
  waited_s_ = 0;
  try {
    writer_.begin(std::move(request));
  } catch (const base::SystemError& error) {
    failed(error.what(), must);
  }
  waited_s_ += base::seconds_since(last_begin_);
}

void Saver::finish() { finish(false); }

void Saver::finish(bool must) {
  if (!writer_.in_flight()) return;
  watch(saving_step_);
  const auto start = Clock::now();
  checkpoint::SaveResult result;
  try {
    result = writer_.finish();
  } catch (const base::SystemError& error) {
    return failed(error.what(), must);
  }
  if (!on_device(model_)) host_.reset();
  if (!result.not_finite.empty()) {
    // A step can leave weights that are not numbers; the next one would only see it in its loss.
    throw base::SystemError(fmt::format(
        "after step {} the numbers of {} are not all finite; no checkpoint was saved. The "
        "checkpoints before are good. Lower optimizer.lr (under another run.name, or from the "
        "round's start) or look at the data.",
        saving_step_, result.not_finite));
  }
  failures_ = 0;
  waited_s_ += base::seconds_since(start);
  save_seconds_ = base::seconds_since(last_begin_);
  console_.line("saved {} ({}, {:.1f} s, digest {})", result.path, base::format_bytes(result.bytes),
                save_seconds_, result.digest);
  control_.on_first([&] {
    settings_.event({{"event", "saved"},
                     {"step", saving_step_},
                     {"checkpoint", saving_},
                     {"bytes", result.bytes},
                     {"seconds", save_seconds_},
                     {"waited_seconds", waited_s_},
                     {"digest", result.digest}});
    remove_old();
  });
}

void Saver::failed(const std::string& text, bool must) {
  ++failures_;
  if (must || failures_ > config_.checkpoint.most_failures) throw base::SystemError(text);
  console_.warn(
      "{} was not saved: {} The checkpoints before are good; the run goes on ({} of at most {} "
      "failures in a row).",
      saving_, text, failures_, config_.checkpoint.most_failures);
  control_.on_first([&] {
    settings_.event({{"event", "save_failed"}, {"step", saving_step_}, {"text", text}});
  });
}

// Out of sight at once; deleting may take long.
void Saver::remove_old() {
  if (sweeper_.joinable()) sweeper_.join();
  const auto aside = checkpoint::retain(folder_, static_cast<int>(config_.checkpoint.keep),
                                        round_names(), console_);
  if (aside.empty()) return;
  sweeper_ = std::thread([aside] {
    for (const std::string& path : aside) checkpoint::delete_folder(path);
  });
}

void Saver::begin_step(const RunState& state) {
  finish(false);
  begin(state, fmt::format("step-{:08}", state.step), false);
  if (!settings_.background) finish(false);
}

void Saver::save_step(const RunState& state) {
  finish(false);
  begin(state, fmt::format("step-{:08}", state.step), true);
  finish(true);
}

void Saver::save_round(const RunState& state) {
  finish(false);
  begin(state, round_name(state.round), true);
  finish(true);
}

void Saver::drop_optimizer(int64_t round) {
  const std::string name = round_name(round);
  std::string state_text;
  control_.on_first([&] {
    for (const auto& listed : checkpoint::list(folder_)) {
      if (listed.name == name && listed.damage.empty()) state_text = listed.state.dump();
    }
  });
  auto state = nlohmann::json::parse(control_.broadcast_text(state_text), nullptr, false);
  // Gone, damaged or reduced already: nothing to do.
  if (!state.is_object() || !state.value("has_optimizer", false)) return;
  state["has_optimizer"] = false;
  const auto is_weight = [](const std::string& tensor) {
    return !tensor.starts_with("optimizer/");
  };
  try {
    checkpoint::drop_tensors(folder_, name, is_weight, state, control_);
  } catch (const base::UserError& error) {
    // Of an earlier round, so nothing needs it; what is damaged is not written again.
    console_.warn("the optimizer state of {} stays: {}", name, error.what());
  }
}

}  // namespace rondo::train
