// The configuration of a run: every key of the YAML, with its meaning, unit and default.
//
// The field table in config_fields.hpp is the only place that names keys; docs/configuration.md is
// generated from it by `rondo reference`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/config.hpp"
#include "model/shape.hpp"

namespace rondo::train {

// A whole number or `auto` (0).
struct AutoCount {
  int64_t value = 0;
  bool automatic() const { return value == 0; }
};
// A ZeRO stage or `auto` (-1).
struct ZeroStage {
  int64_t value = 0;
  bool automatic() const { return value < 0; }
};
// `every`: steps, a duration, `epoch` or `never`.
struct Interval {
  int64_t steps = 0;
  double seconds = 0;
  bool epoch = false;
  bool never() const { return steps == 0 && seconds == 0 && !epoch; }
};
// An interval without a clock: what it times changes the ledger, so it falls on the same steps in
// every run.
struct StepInterval : Interval {};
// One path or glob, or a list of them.
struct Paths {
  std::vector<std::string> paths;
};
// Held-out data: files of their own, or `split: N` examples taken from the training files.
struct Heldout {
  Paths files;
  int64_t split = 0;
  bool given() const { return split > 0 || !files.paths.empty(); }
};
// Models whose weights are averaged, or of which the best is taken, and how.
struct Members {
  enum class How {
    kUniform,  // equal weights
    kWeights,  // `weights`
    kGreedy,   // from the best on, each that does not worsen the average (Wortsman et al. 2022)
    kBest,     // the best alone
  };
  std::string place;
  std::vector<std::string> of;  // names of earlier rounds, `base`, or paths of checkpoints
  How how = How::kUniform;
  std::vector<double> weights;  // of kWeights; any sum but 0, by which they are divided
  std::string on;               // of kGreedy and kBest: the source whose held-out loss decides
  bool judged() const { return how == How::kGreedy || how == How::kBest; }
};
// Where a round's weights start.
struct Init {
  enum class Kind { kBase, kPrevious, kCheckpoint, kRound, kMembers };
  Kind kind = Kind::kPrevious;
  std::string name{};  // path of the checkpoint, or name of the round
  Members members{};
};
// A share of a mix, or `auto` (0).
struct Share {
  double value = 0;
};
// In `data` and `shares`: all sources of earlier rounds that the round does not name itself.
inline constexpr const char* kReplay = "replay";
// Keys of a section given again in a round: merged key by key over the global section.
template <class T>
struct Patch {
  base::YamlNode node;
  T value;  // the merged section, after resolve()
  void resolve(const T& global);
};

struct RunSection {
  std::string name;
  std::string dir = "runs";
  int64_t seed = 1;
  int64_t max_steps = 0;
  double max_minutes = 0;
  int64_t most_restarts = 3;
  int64_t print_every = 10;
};
struct ShapeSection {
  int64_t hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_width = 0, ffn = 0, vocab = 0;
  int64_t max_seq = 2048;
  double rope_theta = 10000;
  double norm_eps = 1e-5;
  bool tied = false, qkv_bias = false, qk_norm = false;
};
struct ModelSection {
  std::string place;
  std::optional<std::string> from;
  std::optional<ShapeSection> shape;
  AutoCount vocab;
};
struct ParallelSection {
  AutoCount tensor{1};
  AutoCount shard;
  AutoCount replicate{1};
  ZeroStage zero{1};
  bool reproducible = false;
  int64_t reduction_lanes = 8;
  std::string gradient_exchange = "fp32";
  double deadline_s = 1800;
  bool check_collectives = false;
};
struct RecomputeSection {
  std::string what = "none";
  double share = 1;
};
struct BatchSection {
  int64_t seq_len = 1024;
  int64_t packs = 16;
  AutoCount micro_packs;
  AutoCount read_ahead;
};
struct PackSection {
  int64_t max_documents = 0;
  std::string over_long = "drop";
  double max_rejected = 0.01;
};
struct ContaminationSection {
  std::string action = "remove";
  int64_t ngram = 8;
  double share = 0.5;
  double max_hit = 0.02;
};
struct EvaluationSetSection {
  std::string place;
  Paths files;
  Paths text;  // names of columns; read by tools/prepare
};
struct CleanSection {
  std::string exact = "remove";
  std::string near = "remove";
  double jaccard = 0.7;
  int64_t shingle_words = 5;
  int64_t bands = 26;
  int64_t band_rows = 8;
  std::string across_rounds = "report";
  std::string keep = "longest";
  double max_removed = 0.5;
  ContaminationSection contamination;
  base::Named<EvaluationSetSection> evaluation_sets;
};
struct LossSection {
  std::string average = "tokens";
};
struct OptimizerSection {
  double lr = 1e-5;
  std::vector<double> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  double clip = 1.0;
};
struct ScheduleSection {
  std::string kind = "linear";
  double warmup = 0.03;
  double final = 0.0;
  double decay = 0.2;
};
struct NonFiniteSection {
  std::string action = "stop";
  int64_t limit = 10;
};
struct SpikeSection {
  double loss = 0;
  double grad_norm = 0;
  int64_t window = 50;
  std::string action = "stop";
  int64_t limit = 10;
  bool on() const { return loss > 0 || grad_norm > 0; }
};
struct CheckpointSection {
  Interval every{.steps = 0, .seconds = 1800};
  int64_t keep = 2;
  std::string resume = "auto";
  std::string verify = "full";
  int64_t writers_per_node = 1;
  std::string background = "auto";
  int64_t most_failures = 3;
};
struct WatchdogSection {
  double factor = 10;
  double least_s = 300;
  double first_s = 1800;
};
struct EvaluateSection {
  bool at_start = true;
  StepInterval every;
  int64_t max_examples = 500;
  int64_t answers = 0;
  int64_t max_new_tokens = 256;
};
struct KeepSection {
  std::string place;
  std::string score;
  std::optional<std::string> file;
  std::optional<double> above;
  std::optional<double> below;
  double top = 1;
};
// How completions are judged.
struct VerifySection {
  std::string place;
  std::string how;                   // exact, numeric, regex or command
  std::string pattern;               // of regex
  std::vector<std::string> command;  // program and arguments
};
// Examples that the run makes itself: completions of questions that were judged right.
struct SamplesSection {
  std::string place;
  std::string prompts;  // a source
  Init by;
  int64_t max_prompts = 0;
  int64_t per_prompt = 4;
  int64_t most_kept = 1;
  double temperature = 1;
  double top_p = 1;
  int64_t top_k = 0;
  int64_t max_new_tokens = 256;
  int64_t slots = 16;
  VerifySection verify{.place = "", .how = "exact", .pattern = "", .command = {}};
};
struct SourceSection {
  std::string place;
  Paths train;
  Heldout heldout;
  std::optional<SamplesSection> samples;
  base::Named<std::string> columns;  // read by tools/prepare
  std::string format = "auto";
  std::string chat_template = "auto";
  std::string train_on = "all";
  std::string multi_turn = "auto";
  double end_of_turn_weight = 1;
  double max_rejected = 0.01;
  VerifySection verify{.place = "", .how = "exact", .pattern = "", .command = {}};
  std::optional<KeepSection> keep;
};
// What a round is tried again with, over its own keys.
struct RetrySection {
  std::string place;
  base::Named<double> data;
  base::Named<Share> shares;
  std::optional<double> epochs;
  std::optional<int64_t> steps;
  std::optional<int64_t> tokens;
  Patch<OptimizerSection> optimizer;
  Patch<ScheduleSection> schedule;
};
struct GateSection {
  std::string place;
  std::string on;
  std::vector<std::string> command;  // that prints the figure; then without `on`
  std::string figure = "loss";
  std::optional<double> min;
  std::optional<double> max;
  std::optional<double> max_loss_increase;
  std::optional<double> max_decrease;
  std::string relative_to = "previous";
  std::string otherwise = "report";
  // Whether the figure is held against that of another model.
  bool compares() const { return command.empty() && compares_with_another(); }
  bool compares_with_another() const { return max_loss_increase || max_decrease || (!min && !max); }
};
struct RoundSection {
  std::string place;
  std::string name;
  Init init;
  std::string optimizer_state = "reset";
  std::optional<int64_t> seed;
  base::Named<double> data;
  base::Named<Share> shares;
  std::string by = "trainable";
  double temperature = 1;
  std::optional<double> epochs;
  std::optional<int64_t> steps;
  std::optional<int64_t> tokens;
  Patch<BatchSection> batch;
  Patch<OptimizerSection> optimizer;
  Patch<ScheduleSection> schedule;
  Patch<EvaluateSection> evaluate;
  std::vector<GateSection> gate;  // one, or a list
  std::vector<RetrySection> retry;

  // Not read from the file: a gate has set its result aside for good, so that it counts for none of
  // the rounds after it.
  bool set_aside = false;

  // Whether there is a step to train.
  bool trains() const { return !data.empty() || !shares.empty(); }
};
struct ExportSection {
  bool rounds = true;
  std::string dtype = "fp32";
};
struct Config {
  std::string place;
  RunSection run;
  ModelSection model;
  std::optional<std::string> tokenizer;
  std::string device = "auto";
  std::string precision = "auto";
  std::string moments = "fp32";
  ParallelSection parallel;
  RecomputeSection recompute;
  BatchSection batch;
  PackSection pack;
  CleanSection clean;
  LossSection loss;
  OptimizerSection optimizer;
  ScheduleSection schedule;
  NonFiniteSection non_finite;
  SpikeSection spike;
  CheckpointSection checkpoint;
  WatchdogSection watchdog;
  EvaluateSection evaluate;
  ExportSection exports;
  base::Named<SourceSection> sources;
  std::vector<RoundSection> rounds;

  // Not read from the file: ids of a tokenizer that was made for this run, which a model that is
  // read must have rows for (name_tokenizer); 0: none was made.
  int64_t made_vocab = 0;

  std::string run_folder() const { return run.dir + "/" + run.name; }
  const SourceSection& source(const std::string& name) const;
  // Folder of the tokenizer: `tokenizer`, else the model's folder, else "".
  std::string tokenizer_folder() const;
  // Where tools/prepare puts what it makes for this run.
  std::string cache_folder() const;
};

// Reads a configuration file and "section.key=value" overrides. One UserError lists everything that
// is wrong in it by itself; train/layout.hpp looks at what depends on the ranks and the model.
Config read_config(const std::string& path, const std::vector<std::string>& overrides);
// The sources that round `i` trains on, in the order of the keys of `data` or `shares` that name
// them.
struct TrainedSource {
  std::string name;
  size_t key;     // place in `data` or `shares`
  bool replayed;  // named by `replay`, not by its own name
};
std::vector<TrainedSource> trained_sources(const Config& config, size_t i);
// The round whose samples of a source with `samples` round `i` trains on: the last one up to `i`
// that names the source itself and is not set aside.
size_t samples_round(const Config& config, size_t i, const std::string& source);
// Whether all that round `i` trains on is there before the run.
bool given_before(const Config& config, size_t i);
// The round whose packs round `i` goes on with: itself, or the first of those before it that it
// carries on from with the very same data and batch.
size_t plan_origin(const Config& config, size_t i);
// Seeds the packing of round `i` and the order of its packs: from run.seed and the name of its
// plan_origin(), or its own `seed`, so that no other round has a part in it.
uint64_t seed_of_round(const Config& config, size_t i);
// The round before `i` whose result stands; nothing: the base model.
std::optional<size_t> round_before(const Config& config, size_t i);
// The round after `i` that is not set aside; of no round: the first one.
std::optional<size_t> round_after(const Config& config, std::optional<size_t> i);
// Round `i` as it is tried for the `attempt`-th time, counted from 0: with the keys of
// retry[attempt - 1] over its own.
RoundSection attempt_of(const RoundSection& round, int64_t attempt);
// The whole configuration with every default and override written out, as YAML.
std::string resolved_yaml(Config config);
// The part of it that fixes what round `i` computes, for comparison when a run is resumed.
std::string round_yaml(Config config, size_t i);
// Markdown reference of all keys.
std::string configuration_reference();

}  // namespace rondo::train
