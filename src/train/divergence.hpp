// Losses and gradient norms that are not numbers, or jump, and what a run does about them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/console.hpp"
#include "train/config.hpp"

namespace rondo::train {

// Of the last applied steps, the newest last; at most SpikeSection::window of each.
struct RecentSteps {
  std::vector<double> losses;
  std::vector<double> grad_norms;

  void add(double loss, double grad_norm, int64_t window);
};

// What is a spike in a step after `recent`, in words with the numbers; empty: nothing.
std::string spike_of(const SpikeSection& section, const RecentSteps& recent, double loss,
                     double grad_norm);

enum class Trouble { kNotFinite, kSpike };
std::string_view name_of(Trouble trouble);  // "not_finite", "spike"; in files, so frozen

enum class Reaction { kSkip, kRollback };

// `text`: which step, and what was found; `times`: how often this trouble came up to now, this one
// included. Warns and says what to do, or throws the SystemError that ends the run.
Reaction react(const Config& config, Trouble trouble, const std::string& text, int64_t times,
               base::Console& console);

// Steps that are not applied since the run has gone back because of them: the lines of
// skipped.jsonl in the run folder. They outlive the checkpoints, which are older.
class SkippedSteps {
 public:
  struct Entry {
    int64_t round = 0;  // index
    int64_t attempt = 0;
    int64_t first = 0;  // steps of the round, counted from 0, both included
    int64_t last = 0;
    std::string trouble;  // name_of(Trouble)
    std::string text;
  };

  SkippedSteps() = default;
  // Lines that are not whole are left out: a kill may have cut the last one short.
  explicit SkippedSteps(const std::string& lines);

  static std::string line_of(const Entry& entry);
  void add(Entry entry) { entries_.push_back(std::move(entry)); }
  int64_t count() const { return std::ssize(entries_); }
  int64_t count(Trouble trouble) const;
  bool contains(int64_t round, int64_t attempt, int64_t round_step) const;
  // Whether a run may go on from a checkpoint of this state: it is of before every step that was
  // found bad after it was saved.
  bool allow(const nlohmann::json& state) const;

 private:
  std::vector<Entry> entries_;
};

}  // namespace rondo::train
