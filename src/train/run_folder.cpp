#include "train/run_folder.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "base/environment.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "storage/publish.hpp"
#include "train/ledger.hpp"

namespace rondo::train {

namespace {

storage::LockOptions lock_options() {
  storage::LockOptions options;
  options.job = base::environment("SLURM_JOB_ID");
  const std::string restart = base::environment("SLURM_RESTART_COUNT");
  if (!restart.empty()) options.restart = std::atoll(restart.c_str());
  return options;
}

}  // namespace

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

RunFolder::RunFolder(const Config& config, base::Console& console) : folder_(config.run_folder()) {
  std::error_code ignored;
  std::filesystem::create_directories(config.run.dir, ignored);
  made_here_ = std::filesystem::create_directory(folder_, ignored);
  try {
    storage::check_writable(folder_);
    lock_ = storage::RunLock::take(folder_, lock_options());
  } catch (...) {
    // Without the lock it may be another's by now: only an empty one goes.
    if (made_here_) std::filesystem::remove(folder_, ignored);
    throw;
  }
  if (!lock_->note().empty()) console.warn("{}", lock_->note());
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  const bool unwanted = made_here_ && !kept_;
  if (unwanted) {
    for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
      if (entry.path().filename() != "LOCK") std::filesystem::remove_all(entry.path(), ignored);
    }
  }
  lock_.reset();
  if (unwanted) std::filesystem::remove(folder_, ignored);
}

void RunFolder::keep(const Config& config) {
  kept_ = true;
  base::write_text_durably(path("config.yaml"), resolved_yaml(config));
}

void RunFolder::event(nlohmann::json json) const {
  check_owner();
  json["time"] = utc_now();
  // Texts of errors may quote what is no UTF-8.
  base::append_line_durably(path("events.jsonl"),
                            json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

std::string RunFolder::skipped_lines() const {
  const std::string file = path("skipped.jsonl");
  return std::filesystem::exists(file) ? base::read_text(file) : "";
}

void RunFolder::skip_steps(const SkippedSteps::Entry& entry) const {
  check_owner();
  base::append_line_durably(path("skipped.jsonl"), SkippedSteps::line_of(entry));
}

std::string RunFolder::ledger_lines() const {
  const std::string file = path("ledger.jsonl");
  return std::filesystem::exists(file) ? base::read_text(file) : "";
}

void RunFolder::ledger(const nlohmann::json& line) const {
  const auto old = ledger_line(line.at("round").get<std::string>());
  const auto same = [&](const char* key) {
    return old->value(key, nlohmann::json()) == line.value(key, nlohmann::json());
  };
  if (old && same("weights_digest") && same("attempt") && same("outcome")) return;
  check_owner();
  append_to_ledger(path("ledger.jsonl"), line);
}

std::optional<nlohmann::json> RunFolder::ledger_line(const std::string& round) const {
  std::optional<nlohmann::json> last;
  for (LedgerLine& line : train::ledger_lines(ledger_lines())) {
    if (line.json.value("round", "") == round) last = std::move(line.json);
  }
  return last;
}

std::string stored_digest(const std::string& checkpoint) {
  const auto manifest = nlohmann::json::parse(base::read_text(checkpoint + "/MANIFEST.json"));
  return manifest.value("digest", "");
}

}  // namespace rondo::train
