#include "train/saver.hpp"

#include <fmt/format.h>

#include <span>

#include "base/error.hpp"
#include "base/finite.hpp"
#include "base/units.hpp"
#include "parallel/copies.hpp"
#include "train/model_source.hpp"

namespace rondo::train {

namespace {

std::string checkpoints_of(const Config& config) { return config.run_folder() + "/checkpoints"; }

// A step can leave weights that are not numbers only from the next one on seen in its loss.
void check_finite(const std::vector<checkpoint::Piece>& pieces, int64_t step) {
  for (const auto& piece : pieces) {
    const std::span values(piece.data, static_cast<size_t>(piece.elements.size()));
    if (base::all_finite(values)) continue;
    throw base::SystemError(fmt::format(
        "after step {} the weights or Adam's moments are not all finite numbers; no checkpoint was "
        "saved. The checkpoints before are good. Lower optimizer.lr (under another run.name, or "
        "from the round's start) or look at the data.",
        step));
  }
}

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

std::optional<checkpoint::Checkpoint> find_newest(const Config& config, comm::Control& control,
                                                  base::Console& console) {
  const std::string folder = checkpoints_of(config);
  control.on_first([&] { checkpoint::clean(folder, console); });
  const auto verify = config.checkpoint.verify == "full" ? checkpoint::Verify::kFull
                                                         : checkpoint::Verify::kManifest;
  // In the middle of a round weights alone cannot be gone on from.
  const auto accept = [](const std::string& /*name*/, const nlohmann::json& state) {
    return state.value("has_optimizer", false) || state.value("round_trained", false);
  };
  auto found = checkpoint::Checkpoint::open_newest(folder, control, console, verify, accept);
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

Saver::Saver(const Config& config, model::Model& model, comm::Control& control,
             base::Console& console)
    : config_(config),
      model_(model),
      control_(control),
      console_(console),
      folder_(checkpoints_of(config)),
      last_save_(std::chrono::steady_clock::now()) {}

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
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - last_save_;
  return every.seconds > 0 && since.count() >= every.seconds;
}

std::string Saver::save(const RunState& state, const std::string& name) {
  checkpoint::SaveRequest request;
  request.folder = folder_;
  request.name = name;
  request.step = state.step;
  request.tensors = logical_tensors(model_, true);
  request.pieces = owned_pieces(model_, true);
  control_.agree([&] { check_finite(request.pieces, state.step); });
  check_copies(model_, state.step, control_);
  request.state = state.to_json(config_);
  request.ranks_per_shard = static_cast<int>(config_.checkpoint.ranks_per_shard);
  const auto start = std::chrono::steady_clock::now();
  const auto result = checkpoint::save(request, control_);
  last_save_ = std::chrono::steady_clock::now();
  const std::chrono::duration<double> seconds = last_save_ - start;
  console_.line("saved {} ({}, {:.1f} s, digest {})", result.path, base::format_bytes(result.bytes),
                seconds.count(), result.digest);
  return result.digest;
}

std::string Saver::save_step(const RunState& state) {
  const std::string digest = save(state, fmt::format("step-{:08}", state.step));
  control_.on_first([&] {
    checkpoint::retain(folder_, static_cast<int>(config_.checkpoint.keep), round_names(), console_);
  });
  return digest;
}

std::string Saver::save_round(const RunState& state) {
  return save(state, round_name(state.round));
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
