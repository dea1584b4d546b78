#include "train/divergence.hpp"

#include <algorithm>
#include <sstream>

#include "base/error.hpp"

namespace rondo::train {

namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

void keep_newest(std::vector<double>& values, double value, int64_t window) {
  values.push_back(value);
  if (std::ssize(values) > window) values.erase(values.begin(), values.end() - window);
}

std::string spike_in(const char* what, double factor, int64_t window,
                     const std::vector<double>& recent, double value) {
  if (factor == 0 || std::ssize(recent) < window) return {};
  const double usual = median(recent);
  if (value <= factor * usual) return {};
  return fmt::format("{} {:.4g} is more than {} times {:.4g}, the median of the last {} steps",
                     what, value, factor, usual, window);
}

}  // namespace

void RecentSteps::add(double loss, double grad_norm, int64_t window) {
  keep_newest(losses, loss, window);
  keep_newest(grad_norms, grad_norm, window);
}

std::string spike_of(const SpikeSection& section, const RecentSteps& recent, double loss,
                     double grad_norm) {
  const std::string text = spike_in("the loss", section.loss, section.window, recent.losses, loss);
  if (!text.empty()) return text;
  return spike_in("the gradient norm", section.grad_norm, section.window, recent.grad_norms,
                  grad_norm);
}

std::string_view name_of(Trouble trouble) {
  return trouble == Trouble::kNotFinite ? "not_finite" : "spike";
}

Reaction react(const Config& config, Trouble trouble, const std::string& text, int64_t times,
               base::Console& console) {
  const bool not_finite = trouble == Trouble::kNotFinite;
  const std::string& action = not_finite ? config.non_finite.action : config.spike.action;
  const int64_t limit = not_finite ? config.non_finite.limit : config.spike.limit;
  const char* section = not_finite ? "non_finite" : "spike";
  if (action == "stop") {
    throw base::SystemError(fmt::format(
        "{} Look at the data of this step (its examples are in events.jsonl), or set {}.action: "
        "skip or rollback; another optimizer.lr needs another run.name.",
        text, section));
  }
  if (times > limit) {
    throw base::SystemError(fmt::format(
        "{} That is more than {}.limit = {}. Look at the data of these steps (events.jsonl), or "
        "raise the limit; another optimizer.lr needs another run.name.",
        text, section, limit));
  }
  const bool skip = action == "skip";
  console.warn("{} {} ({} of at most {}).", text,
               skip ? "Skipped" : "Going back to the checkpoint before, to leave it out", times,
               limit);
  return skip ? Reaction::kSkip : Reaction::kRollback;
}

SkippedSteps::SkippedSteps(const std::string& lines) {
  std::istringstream rest(lines);
  for (std::string line; std::getline(rest, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) continue;
    entries_.push_back({.round = json.value("round", int64_t{0}),
                        .attempt = json.value("attempt", int64_t{0}),
                        .first = json.value("first", int64_t{0}),
                        .last = json.value("last", int64_t{-1}),
                        .trouble = json.value("trouble", ""),
                        .text = json.value("text", "")});
  }
}

std::string SkippedSteps::line_of(const Entry& entry) {
  const nlohmann::json json = {{"round", entry.round},     {"attempt", entry.attempt},
                               {"first", entry.first},     {"last", entry.last},
                               {"trouble", entry.trouble}, {"text", entry.text}};
  return json.dump();
}

int64_t SkippedSteps::count(Trouble trouble) const {
  return std::ranges::count(entries_, name_of(trouble), &Entry::trouble);
}

bool SkippedSteps::contains(int64_t round, int64_t attempt, int64_t round_step) const {
  return std::ranges::any_of(entries_, [&](const Entry& entry) {
    return entry.round == round && entry.attempt == attempt && entry.first <= round_step &&
           round_step <= entry.last;
  });
}

bool SkippedSteps::allow(const nlohmann::json& state) const {
  const auto known = state.value("skips", int64_t{0});
  const auto round = state.value("round", int64_t{0});
  const auto round_step = state.value("round_step", int64_t{0});
  for (int64_t i = known; i < count(); ++i) {
    const Entry& entry = entries_[static_cast<size_t>(i)];
    if (round > entry.round || (round == entry.round && round_step > entry.first)) return false;
  }
  return true;
}

}  // namespace rondo::train
