#include "train/run_data.hpp"

#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "data/evaluation_words.hpp"
#include "data/pack.hpp"
#include "data/packed_format.hpp"
#include "data/step_order.hpp"
#include "data/tokenized.hpp"
#include "model/hf_folder.hpp"
#include "train/tokenizer_files.hpp"

namespace rondo::train {

namespace {

bool is_tokenised(const std::string& path) { return path.ends_with(".h5"); }

// The files that a pattern names, sorted; the path of a file stays as it is.
std::vector<std::string> matching(const std::string& pattern) {
  const bool plain = pattern.find_first_of("*?[") == std::string::npos;
  if (plain || std::filesystem::exists(pattern)) return {pattern};
  glob_t found{};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
  }
  ::globfree(&found);
  if (paths.empty()) base::fail_user("{}: no file matches this pattern.", pattern);
  return paths;
}

std::vector<std::string> all_matching(const Paths& patterns) {
  std::vector<std::string> files;
  for (const auto& pattern : patterns.paths) {
    for (auto& path : matching(pattern)) files.push_back(std::move(path));
  }
  return files;
}

// As tools/tokenize hashes the settings of a job (docs/formats/tokenized.md).
std::string settings_hash(const SourceSection& source) {
  constexpr int kRules = 4;  // as _RULES in tools/rondo_tools/tokenize_job.py
  nlohmann::json columns = nlohmann::json::object();
  for (const auto& [name, column] : source.columns) columns[name] = column;
  const nlohmann::json settings = {
      {"columns", columns},      {"end_of_turn_weight", source.end_of_turn_weight},
      {"format", source.format}, {"multi_turn", source.multi_turn},
      {"rules", kRules},         {"train_on", source.train_on}};
  return base::hash_hex(settings.dump(-1, ' ', true));
}

// The first of `source_files` (docs/formats/tokenized.md) of `made` that is not what it was; "" if
// none.
std::string changed_text(const std::string& made, const std::string& source_files) {
  using nlohmann::json;
  const auto files = base::try_parse_json(source_files);
  const auto has_path = [](const json& file) {
    return file.is_object() && file.contains("path") && file["path"].is_string() &&
           file["path"] != "";
  };
  if (!files || !files->is_array() || !std::ranges::all_of(*files, has_path)) {
    base::fail_user("{}: the attribute source_files is not a JSON list of files.", made);
  }
  for (const auto& file : *files) {
    const auto path = file["path"].get<std::string>();
    const bool same = std::filesystem::exists(path) &&
                      file.value("bytes", json()) == std::filesystem::file_size(path) &&
                      file.value("xxh3", json()) == base::hash_file(path);
    if (!same) return path;
  }
  return {};
}

// The chat template of a source's rows; "" where there is none.
std::string template_of(const SourceSection& source, const std::string& tokenizer) {
  if (source.chat_template == "auto") return model::chat_template_of(tokenizer);
  if (source.chat_template != "chatml") return base::read_text(source.chat_template);
  const std::string bundled = tokenizer + "/chatml.jinja";  // of a tokenizer made for it
  return std::filesystem::exists(bundled) ? base::read_text(bundled) : "";
}

// What has changed since a file was tokenised: its text, or how it is to be tokenised. "" if
// nothing.
std::string what_changed(const Config& config, const SourceSection& source,
                         const std::string& tokenised) {
  const data::TokenizedInfo info = data::read_tokenized_info(tokenised);
  const std::string changed = changed_text(tokenised, info.source_files);
  if (!changed.empty()) return changed;
  const std::string tokenizer = config.tokenizer_folder();
  if (info.tokenizer_hash != tokenizer_hash(tokenizer)) return "tokenizer " + tokenizer;
  if (info.template_hash != base::hash_hex(template_of(source, tokenizer))) {
    return "the chat template";
  }
  if (info.settings_hash != settings_hash(source))
    return "how its rows become examples (format, columns, train_on, ...)";
  return {};
}

// Where tools/prepare puts what it makes of a text: of a part of a source, or of an evaluation set.
std::string cache_path(const Config& config, const std::string& name, const char* part) {
  return fmt::format("{}/{}.{}.h5", config.cache_folder(), name, part);
}

std::vector<std::string> tokenised_files(const Config& config, const std::string& name,
                                         const char* part, const Paths& given) {
  const std::string key = fmt::format("sources.{}.{}", name, part);
  const auto tokenised = std::ranges::count_if(given.paths, is_tokenised);
  if (tokenised > 0 && tokenised < std::ssize(given.paths)) {
    base::fail_user("{}: mixes tokenised .h5 files with text. Give one kind, or two sources.", key);
  }
  if (tokenised > 0) {
    std::set<std::string> different;
    std::vector<std::string> files = all_matching(given);
    for (const std::string& path : files) {
      if (different.insert(path).second) continue;
      base::fail_user("{}: {} is given twice. Leave one of them out.", key, path);
    }
    return files;
  }
  const std::string cached = cache_path(config, name, part);
  if (!std::filesystem::exists(cached)) {
    base::fail_user(
        "{}: {} is not tokenised yet ({} is missing). Start with launch/run, or run "
        "tools/prepare CONFIG first.",
        key, given.paths.front(), cached);
  }
  return {cached};
}

// Found missing here, not by the export at the end of a round.
void check_tokenizer(const Config& config) {
  if (!config.tokenizer || holds_tokenizer(*config.tokenizer)) return;
  base::fail_user(
      "{}: tokenizer: {} is not a folder with a tokenizer in it (such as tokenizer.json). "
      "tools/train_tokenizer makes one.",
      config.place, *config.tokenizer);
}

data::OverLong over_long_of(const std::string& name) {
  if (name == "drop") return data::OverLong::kDrop;
  return name == "cut" ? data::OverLong::kCut : data::OverLong::kError;
}

data::PackRequest common_request(const Config& config, int64_t vocab, int64_t seq_len) {
  data::PackRequest request;
  request.seq_len = seq_len;
  request.max_documents = config.pack.max_documents;
  request.split_seed = static_cast<uint64_t>(config.run.seed);
  request.vocab = vocab;
  request.over_long = over_long_of(config.pack.over_long);
  request.max_rejected = config.pack.max_rejected;
  return request;
}

data::CleanAction action_of(const std::string& name) {
  if (name == "off") return data::CleanAction::kOff;
  return name == "report" ? data::CleanAction::kReport : data::CleanAction::kRemove;
}

data::EvaluationSet evaluation_set(const Config& config, const std::string& name,
                                   const EvaluationSetSection& given) {
  if (std::ranges::all_of(given.files.paths, is_tokenised)) {
    return {.name = name, .files = all_matching(given.files)};
  }
  const std::string cached = cache_path(config, name, "evaluation");
  if (!std::filesystem::exists(cached)) {
    base::fail_user(
        "clean.evaluation_sets.{}: its words are not prepared yet ({} is missing). Start with "
        "launch/run, or run tools/prepare CONFIG first.",
        name, cached);
  }
  return {.name = name, .files = {cached}};
}

data::CleanSettings clean_settings(const Config& config) {
  const CleanSection& given = config.clean;
  data::CleanSettings clean;
  clean.exact = action_of(given.exact);
  clean.near = action_of(given.near);
  clean.across_rounds = action_of(given.across_rounds);
  clean.contamination = action_of(given.contamination.action);
  clean.jaccard = given.jaccard;
  clean.shingle_words = static_cast<int>(given.shingle_words);
  clean.bands = static_cast<int>(given.bands);
  clean.band_rows = static_cast<int>(given.band_rows);
  clean.keep_longest = given.keep == "longest";
  clean.ngram = static_cast<int>(given.contamination.ngram);
  clean.share = given.contamination.share;
  clean.max_hit = given.contamination.max_hit;
  clean.max_removed = given.max_removed;
  for (const auto& [name, set] : given.evaluation_sets) {
    clean.evaluation_sets.push_back(evaluation_set(config, name, set));
  }
  if (clean.evaluation_sets.empty()) clean.contamination = data::CleanAction::kOff;
  return clean;
}

// Sources of earlier rounds that stand and round `i` does not name, each once.
std::vector<data::PackSource> sources_before(const Config& config, size_t i) {
  std::set<std::string> named;
  for (const TrainedSource& trained : trained_sources(config, i)) named.insert(trained.name);
  std::vector<data::PackSource> earlier;
  for (size_t k = 0; k < i; ++k) {
    if (config.rounds[k].set_aside) continue;
    for (const TrainedSource& trained : trained_sources(config, k)) {
      if (!named.insert(trained.name).second) continue;
      earlier.push_back({.name = trained.name, .files = train_files(config, i, trained.name)});
    }
  }
  return earlier;
}

data::Mix mix_of(const RoundSection& round) {
  data::Mix mix;
  for (const auto& [name, share] : round.shares) mix.parts.push_back({name, share.value});
  mix.by = round.by == "tokens"     ? data::MixBy::kTokens
           : round.by == "examples" ? data::MixBy::kExamples
                                    : data::MixBy::kTrainable;
  mix.temperature = round.temperature;
  mix.tokens = round.tokens.value_or(0);
  return mix;
}

std::optional<data::Keep> keep_of(const SourceSection& source) {
  if (!source.keep) return {};
  return data::Keep{.score = source.keep->score,
                    .file = source.keep->file.value_or(""),
                    .above = source.keep->above,
                    .below = source.keep->below,
                    .top = source.keep->top};
}

template <class T>
void add_new(std::vector<T>& all, const T& value) {
  if (std::ranges::find(all, value) == all.end()) all.push_back(value);
}

Turns turns_of(const data::PackRequest& request) {
  Turns turns;
  for (const auto& source : request.sources) {
    for (const auto& path : source.files) {
      const data::TokenizedInfo info = data::read_tokenized_info(path);
      if (info.end_of_turn_id >= 0) add_new(turns.end_of_turn, info.end_of_turn_id);
      if (!info.chat_template.empty()) add_new(turns.chat_templates, info.chat_template);
    }
  }
  return turns;
}

// A token id must mean the same in all that one model sees. Returns the hash of its tokenizer.
std::string check_one_tokenizer(const RunData& data) {
  std::string first_path;
  std::string first_hash;
  for (const auto* request : data.all()) {
    for (const auto& source : request->sources) {
      for (const auto& path : source.files) {
        const std::string hash = data::read_tokenized_info(path).tokenizer_hash;
        if (first_path.empty()) {
          first_path = path;
          first_hash = hash;
        }
        if (hash == first_hash) continue;
        base::fail_user(
            "sources.{}: {} was made with another tokenizer (hash {}) than {} (hash {}). Tokenise "
            "all sources with the model's tokenizer.",
            source.name, path, hash, first_path, first_hash);
      }
    }
  }
  return first_hash;
}

// Files of a tokenizer change without its ids changing, so another hash is no error.
std::string warn_of_tokenizer(const std::string& folder, const std::string& hash_of_data) {
  const std::string hash = tokenizer_hash(folder);
  if (hash.empty() || hash == hash_of_data) return {};
  return fmt::format(
      "the data were tokenised with another tokenizer (hash {}) than {} (hash {}), which goes into "
      "the exported models. Where their ids differ, name the right one by `tokenizer`.",
      hash_of_data, folder, hash);
}

// Whether the samples that round `i` trains on, or is compared with, are made.
bool all_there(const Config& config, size_t i) {
  for (size_t k = 0; k <= i; ++k) {
    if (k != i && config.rounds[k].set_aside) continue;
    for (const TrainedSource& trained : trained_sources(config, k)) {
      if (!config.source(trained.name).samples) continue;
      const size_t made_by = samples_round(config, i, trained.name);
      if (!std::filesystem::exists(samples_file(config, made_by, trained.name))) return false;
    }
  }
  return true;
}

data::PackRequest round_request(const Config& config, size_t i, int64_t vocab) {
  const RoundSection& round = config.rounds[i];
  auto request = common_request(config, vocab, round.batch.value.seq_len);
  request.seed = seed_of_round(config, i);
  request.out_folder = fmt::format("{}/rounds/{}/packed", config.run_folder(), round.name);
  request.clean = clean_settings(config);
  request.packs_per_step = round.batch.value.packs;
  for (const TrainedSource& trained : trained_sources(config, i)) {
    const SourceSection& source = config.source(trained.name);
    request.sources.push_back({.name = trained.name,
                               .files = train_files(config, i, trained.name),
                               .passes = round.data.empty() ? 1.0 : round.data[trained.key].second,
                               .replayed = trained.replayed,
                               .part = trained.key,
                               .heldout_split = source.heldout.split,
                               .keep = keep_of(source)});
  }
  if (!round.shares.empty()) request.mix = mix_of(round);
  request.earlier = sources_before(config, i);
  return request;
}

data::PackRequest heldout_request(const Config& config, const std::string& name, int64_t vocab,
                                  int64_t seq_len, int64_t max_examples) {
  const SourceSection& source = config.source(name);
  auto request = common_request(config, vocab, seq_len);
  request.seed = static_cast<uint64_t>(config.run.seed);
  const bool main = max_examples == config.evaluate.max_examples;
  const std::string folder = main ? "heldout" : fmt::format("heldout-{}", max_examples);
  request.out_folder = fmt::format("{}/{}/{}", config.run_folder(), folder, name);
  const bool split = source.heldout.split > 0;
  request.sources.push_back(
      {.name = name,
       .files = split ? tokenised_files(config, name, "train", source.train)
                      : tokenised_files(config, name, "heldout", source.heldout.files),
       .heldout_split = source.heldout.split,
       .take_heldout = split,
       .max_examples = max_examples});
  return request;
}

}  // namespace

std::vector<const data::PackRequest*> RunData::all() const {
  std::vector<const data::PackRequest*> requests;
  for (const auto& request : rounds) {
    if (!request.sources.empty()) requests.push_back(&request);
  }
  for (const auto& entry : heldout) requests.push_back(&entry.request);
  for (const auto& [max_examples, entries] : heldout_inside) {
    for (const auto& entry : entries) requests.push_back(&entry.request);
  }
  return requests;
}

std::string samples_file(const Config& config, size_t round, const std::string& source) {
  return fmt::format("{}/rounds/{}/samples/{}.h5", config.run_folder(),
                     config.rounds.at(round).name, source);
}

std::vector<std::string> train_files(const Config& config, size_t round,
                                     const std::string& source) {
  if (!config.source(source).samples) {
    return tokenised_files(config, source, "train", config.source(source).train);
  }
  return {samples_file(config, samples_round(config, round, source), source)};
}

data::Average average_of(const Config& config) {
  return config.loss.average == "examples" ? data::Average::kExamples : data::Average::kTokens;
}

RunData plan_data(const Config& config, int64_t vocab) {
  check_tokenizer(config);
  RunData data;
  int64_t longest = config.batch.seq_len;
  for (const auto& round : config.rounds) longest = std::max(longest, round.batch.value.seq_len);
  for (size_t i = 0; i < config.rounds.size(); ++i) {
    data.rounds.push_back(all_there(config, i)
                              ? round_request(config, plan_origin(config, i), vocab)
                              : data::PackRequest{});
  }
  for (const auto& [name, source] : config.sources) {
    if (!source.heldout.given()) continue;
    // One set for the ends of all rounds, so that their losses can be compared.
    const auto request = [&, &name = name](int64_t max_examples) {
      return heldout_request(config, name, vocab, longest, max_examples);
    };
    data.heldout.push_back({name, request(config.evaluate.max_examples)});
    std::set<int64_t> inside;
    for (const auto& round : config.rounds) {
      const EvaluateSection& evaluate = round.evaluate.value;
      const int64_t most = evaluate.max_examples;
      if (evaluate.every.never() || most == config.evaluate.max_examples) continue;
      if (inside.insert(most).second) data.heldout_inside[most].push_back({name, request(most)});
    }
  }
  data.other_tokenizer = warn_of_tokenizer(config.tokenizer_folder(), check_one_tokenizer(data));
  for (const auto& request : data.rounds) data.turns.push_back(turns_of(request));
  return data;
}

bool plan_round_again(const Config& config, size_t round, int64_t vocab, RunData& data) {
  data::PackRequest& planned = data.rounds.at(round);
  const std::string before = planned.sources.empty() ? "" : data::request_hash(planned);
  planned = round_request(config, plan_origin(config, round), vocab);
  if (planned.sources.empty() && config.rounds[round].trains()) {
    base::fail_user(
        "{}: round '{}' replays rounds that gates have all set aside, so that it has no data. Give "
        "it sources of its own, and start again.",
        config.place, config.rounds[round].name);
  }
  if (planned.sources.empty() || data::request_hash(planned) == before) return false;
  check_one_tokenizer(data);
  data.turns.at(round) = turns_of(planned);
  return true;
}

void check_fresh(const Config& config, const RunData& data) {
  std::set<std::string> used;
  for (const auto* request : data.all()) {
    for (const auto& source : request->sources)
      used.insert(source.files.begin(), source.files.end());
  }
  for (const auto& [name, set] : config.clean.evaluation_sets) {
    if (std::ranges::all_of(set.files.paths, is_tokenised)) continue;
    const std::string cached = cache_path(config, name, "evaluation");
    const std::string changed = changed_text(cached, data::source_files_of_instances(cached));
    if (changed.empty()) continue;
    base::fail_user(
        "clean.evaluation_sets.{}: {} has changed or gone since its words were put into {}. Start "
        "with launch/run (or run tools/prepare CONFIG), which does it again.",
        name, changed, cached);
  }
  for (const auto& [name, source] : config.sources) {
    for (const char* part : {"train", "heldout"}) {
      const std::string cached = cache_path(config, name, part);
      const std::string changed = used.contains(cached) ? what_changed(config, source, cached) : "";
      if (changed.empty()) continue;
      base::fail_user(
          "sources.{}.{}: {} has changed or gone since it was tokenised into {}. Start with "
          "launch/run (or run tools/prepare CONFIG), which tokenises it again.",
          name, part, changed, cached);
    }
  }
}

void check_same_data(const data::PackRequest& request, const std::string& place,
                     const std::string& round) {
  const std::string path = request.out_folder + "/" + data::kPlanFile;
  if (!std::filesystem::exists(path)) return;
  const auto plan = nlohmann::json::parse(base::read_text(path), nullptr, false);
  if (!plan.is_object() || plan.value("request_hash", "") == data::request_hash(request)) return;
  base::fail_user(
      "{}: round '{}' was begun on other data: {} was not made from what its sources hold now. Put "
      "the data back, or use another run.name.",
      place, round, request.out_folder);
}

bool ensure_packed(const std::vector<const data::PackRequest*>& requests, comm::Control& control,
                   comm::Group& group, base::Console& console, const std::function<bool()>& stop) {
  for (const data::PackRequest* request : requests) {
    if (control.any_true(stop())) return false;
    bool current = false;
    // Rank 0 decides alone: on shared file systems ranks may see different things for a while.
    control.on_first([&] { current = data::is_current(request->out_folder, *request); });
    if (!control.any_true(control.is_first() && !current)) continue;
    console.line("packing {}", request->out_folder);
    data::pack(*request, control, group, console);
  }
  return true;
}

}  // namespace rondo::train
