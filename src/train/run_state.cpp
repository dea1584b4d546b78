#include "train/run_state.hpp"

#include <sstream>

#include "base/error.hpp"

namespace rondo::train {

nlohmann::json to_json(const std::vector<Parent>& parents) {
  auto json = nlohmann::json::array();
  for (const Parent& parent : parents) {
    json.push_back({{"what", parent.what},
                    {"name", parent.name},
                    {"digest", parent.digest},
                    {"weight", parent.weight}});
  }
  return json;
}

nlohmann::json RunState::to_json(const Config& config) const {
  return {{"run", config.run.name},
          {"round", round},
          {"round_name", config.rounds.at(static_cast<size_t>(round)).name},
          {"attempt", attempt},
          {"round_step", round_step},
          {"round_trained", round_trained},
          {"step", step},
          {"adam_step", adam_step},
          {"schedule_start", schedule_start},
          {"skipped", skipped},
          {"spikes", spikes},
          {"recent_losses", recent.losses},
          {"recent_grad_norms", recent.grad_norms},
          {"skips", skips},
          {"pending_line", pending_line},
          {"has_optimizer", has_optimizer},
          {"matrix", matrix.to_json()},
          {"round_configs", round_configs},
          {"plan_hashes", plan_hashes},
          {"micro_packs", micro_packs},
          {"layout", {{"ranks", ranks}, {"tensor", tensor}, {"zero", zero}}},
          {"start_digest", start_digest},
          {"parents", train::to_json(parents)},
          {"model_config", model_config},
          {"tokenizer", tokenizer},
          {"end_of_turn", end_of_turn},
          {"chat_template", chat_template}};
}

RunState RunState::from_json(const nlohmann::json& json) {
  try {
    RunState state;
    json.at("round").get_to(state.round);
    state.attempt = json.value("attempt", int64_t{0});
    json.at("round_step").get_to(state.round_step);
    json.at("round_trained").get_to(state.round_trained);
    json.at("step").get_to(state.step);
    json.at("adam_step").get_to(state.adam_step);
    json.at("schedule_start").get_to(state.schedule_start);
    json.at("skipped").get_to(state.skipped);
    state.spikes = json.value("spikes", int64_t{0});
    state.recent.losses = json.value("recent_losses", std::vector<double>());
    state.recent.grad_norms = json.value("recent_grad_norms", std::vector<double>());
    state.skips = json.value("skips", int64_t{0});
    state.pending_line = json.value("pending_line", "");
    json.at("has_optimizer").get_to(state.has_optimizer);
    state.matrix = ForgettingMatrix::from_json(json.at("matrix"));
    json.at("round_configs").get_to(state.round_configs);
    json.at("plan_hashes").get_to(state.plan_hashes);
    json.at("micro_packs").get_to(state.micro_packs);
    if (json.contains("layout")) {
      json.at("layout").at("ranks").get_to(state.ranks);
      json.at("layout").at("tensor").get_to(state.tensor);
      json.at("layout").at("zero").get_to(state.zero);
    }
    json.at("start_digest").get_to(state.start_digest);
    for (const auto& parent : json.value("parents", nlohmann::json::array())) {
      state.parents.push_back({.what = parent.at("what").get<std::string>(),
                               .name = parent.at("name").get<std::string>(),
                               .digest = parent.at("digest").get<std::string>(),
                               .weight = parent.at("weight").get<double>()});
    }
    json.at("model_config").get_to(state.model_config);
    json.at("tokenizer").get_to(state.tokenizer);
    json.at("end_of_turn").get_to(state.end_of_turn);
    json.at("chat_template").get_to(state.chat_template);
    return state;
  } catch (const nlohmann::json::exception& error) {
    throw base::UserError(fmt::format(
        "the checkpoint's state is not one of a run of `rondo train`: {}", error.what()));
  }
}

void check_same_rounds(const RunState& state, const Config& config) {
  for (int64_t i = 0; i <= state.round; ++i) {
    const auto index = static_cast<size_t>(i);
    if (index < config.rounds.size() && config.rounds[index].set_aside) continue;
    if (index >= config.rounds.size()) {
      base::fail_user(
          "{}: the run in {} has begun {} rounds, the configuration has {}. Use another "
          "run.name for another recipe.",
          config.place, config.run_folder(), state.round + 1, config.rounds.size());
    }
    const std::string& name = config.rounds[index].name;
    const auto before = state.round_configs.find(name);
    if (before == state.round_configs.end()) {
      base::fail_user(
          "{}: round {} of the run in {} had another name than '{}'. Use another "
          "run.name for another recipe.",
          config.place, i, config.run_folder(), name);
    }
    std::istringstream then(before->second);
    std::istringstream now(round_yaml(config, index));
    std::string then_line;
    std::string now_line;
    while (true) {
      const bool more_then = static_cast<bool>(std::getline(then, then_line));
      const bool more_now = static_cast<bool>(std::getline(now, now_line));
      if (!more_then && !more_now) break;
      if (more_then == more_now && then_line == now_line) continue;
      base::fail_user(
          "{}: round '{}' was begun with another configuration: '{}' then, '{}' now. Put it back, "
          "or use another run.name.",
          config.place, name, more_then ? then_line : "(nothing)",
          more_now ? now_line : "(nothing)");
    }
  }
}

}  // namespace rondo::train
