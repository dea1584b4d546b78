#include "train/samples.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "data/generated.hpp"
#include "data/make_words.hpp"
#include "data/write_tokenized.hpp"
#include "train/answers.hpp"
#include "train/commands.hpp"
#include "train/config_fields.hpp"
#include "train/model_source.hpp"
#include "train/questions.hpp"
#include "train/round_start.hpp"
#include "train/starts.hpp"
#include "train/verifier.hpp"

namespace rondo::train {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kCompletions = 1024;  // of a file, about

// Settings on which the completions of a question depend.
nlohmann::json settings_of(const SamplesSection& samples, uint64_t seed,
                           const std::vector<int32_t>& stop_ids) {
  return {{"max_new_tokens", samples.max_new_tokens},
          {"temperature", samples.temperature},
          {"top_p", samples.top_p},
          {"top_k", samples.top_k},
          {"per_prompt", samples.per_prompt},
          {"seed", seed},
          {"stop_ids", stop_ids}};
}

class Maker {
 public:
  Maker(const RunParts& parts, size_t round, const RunState& state, const std::string& source)
      : parts_(parts),
        config_(parts.config),
        control_(parts.control),
        index_(round),
        round_(config_.rounds[round]),
        source_(source),
        samples_(*config_.source(source).samples),
        file_(samples_file(config_, round, source)),
        state_(state),
        // 63 bits, as files hold it as a signed number.
        seed_(base::hash64(fmt::format("{}/{}", seed_of_round(config_, round), source)) >> 1) {}

  Made run(bool& weights_changed) {
    control_.agree([&] { open_questions(); });
    if (!start_weights(parts_, samples_.by, index_, state_, weights_changed)) return Made::kStopped;
    model_digest_ = digest_of(parts_.model, false);
    const std::string generation =
        base::hash_hex(questions_->hash() + model_digest_ +
                       settings_of(samples_, seed_, questions_->stop_ids()).dump());
    prefix_ = fmt::format("{}.{}", file_.substr(0, file_.size() - 3), generation.substr(0, 8));
    const std::string all = base::hash_hex(
        fmt::format("{} {} {}", generation, to_yaml(samples_.verify), samples_.most_kept));
    bool there = false;
    control_.on_first([&] {
      there = fs::exists(file_) && data::read_tokenized_info(file_).settings_hash == all;
    });
    if (control_.any_true(there)) {
      // A kill may have left them.
      control_.on_first([&] { fs::remove_all(prefix_ + ".parts"); });
      return Made::kAll;
    }
    control_.on_first([&] { fs::create_directories(fs::path(file_).parent_path()); });
    if (!generate()) return Made::kStopped;
    bool waits = false;
    control_.on_first([&] { waits = !judge(all); });
    return control_.any_true(waits) ? Made::kNeedsCommand : Made::kAll;
  }

 private:
  void open_questions() {
    const SourceSection& source = config_.source(samples_.prompts);
    data::PackRequest request;
    request.seq_len = parts_.model.shape().max_seq;
    request.split_seed = static_cast<uint64_t>(config_.run.seed);
    request.vocab = parts_.model.shape().vocab;
    request.max_rejected = 1;
    request.sources.push_back({.name = samples_.prompts,
                               .files = train_files(config_, index_, samples_.prompts),
                               .heldout_split = source.heldout.split});
    questions_.emplace(request, samples_.max_prompts, seed_, state_.end_of_turn);
  }

  std::string part(int64_t chunk) const { return fmt::format("{}.parts/{:05}.h5", prefix_, chunk); }
  // Questions of a file.
  int64_t chunk_size() const { return std::max<int64_t>(1, kCompletions / samples_.per_prompt); }
  int64_t chunks() const { return base::ceil_div(questions_->count(), chunk_size()); }

  // False when a stop has cut it short.
  bool generate() {
    generate::Options options;
    options.sampling = {.temperature = samples_.temperature,
                        .top_k = samples_.top_k,
                        .top_p = samples_.top_p,
                        .seed = seed_};
    options.max_new_tokens = samples_.max_new_tokens;
    options.slots = samples_.slots;
    options.stop_ids = questions_->stop_ids();
    parts_.console.line("round {}: {} completions of each of {} questions of {} for {}",
                        round_.name, samples_.per_prompt, questions_->count(), samples_.prompts,
                        source_);
    control_.on_first([&] { fs::create_directories(prefix_ + ".parts"); });
    const auto start = std::chrono::steady_clock::now();
    int64_t tokens = 0;
    for (int64_t chunk = 0; chunk < chunks(); ++chunk) {
      // Takes as long as it takes: the longest completion is not known before.
      parts_.watchdog.enter("sampling", chunk, base::Budget::kNone);
      if (parts_.stop_wanted()) return false;
      bool there = false;
      control_.on_first([&] { there = fs::exists(part(chunk)); });
      if (control_.any_true(there)) continue;
      const int64_t first = chunk * chunk_size();
      const int64_t last = std::min(first + chunk_size(), questions_->count());
      const auto completions =
          complete(parts_, options, (last - first) * samples_.per_prompt,
                   [&](base::Slice range) { return prompts_of(first, range); });
      control_.on_first([&] { write_part(chunk, first, completions, tokens); });
      parts_.faults.reach("sampled", chunk);
    }
    if (tokens > 0) {
      parts_.console.line("  {} tokens, {:.0f} tokens/s", tokens,
                          static_cast<double>(tokens) / base::seconds_since(start));
    }
    return true;
  }

  // Completion i of a chunk is sample i % per_prompt of its question i / per_prompt. Its random
  // numbers are those of example and sample, whatever else is sampled.
  std::vector<generate::Prompt> prompts_of(int64_t first, base::Slice range) const {
    std::vector<generate::Prompt> prompts;
    for (int64_t i = range.begin; i < range.end; ++i) {
      const int64_t question = first + i / samples_.per_prompt;
      const std::string key =
          fmt::format("{}/{}", questions_->example_id(question), i % samples_.per_prompt);
      prompts.push_back({base::hash64(key), questions_->prompt(question)});
    }
    return prompts;
  }

  void write_part(int64_t chunk, int64_t first,
                  const std::vector<generate::Completion>& completions, int64_t& tokens) const {
    data::Generated generated;
    generated.model = model_digest_;
    generated.prompts = samples_.prompts;
    generated.settings = settings_of(samples_, seed_, questions_->stop_ids()).dump();
    for (size_t i = 0; i < completions.size(); ++i) {
      const int64_t question = first + static_cast<int64_t>(i) / samples_.per_prompt;
      generated.append(completions[i].tokens, questions_->example_id(question),
                       completions[i].finished);
    }
    tokens += std::ssize(generated.tokens);
    data::write_generated(part(chunk), generated);
    // It has brought something, though no checkpoint.
    forget_starts(parts_.folder->path("starts.json"));
  }

  // --- On rank 0 from here on.

  struct Candidate {
    int64_t question;
    std::string id;  // of the example and the sample
    std::vector<int32_t> tokens;
  };

  // Finished completions, in their order.
  std::vector<Candidate> read_candidates() {
    std::vector<Candidate> candidates;
    for (int64_t chunk = 0; chunk < chunks(); ++chunk) {
      const data::Generated generated = data::read_generated(part(chunk));
      for (int64_t i = 0; i < generated.count(); ++i) {
        ++completions_;
        const auto at = static_cast<size_t>(i);
        if (generated.finished[at] == 0) continue;
        candidates.push_back(
            {chunk * chunk_size() + i / samples_.per_prompt,
             fmt::format("{:016x}-{}", generated.example_id[at], i % samples_.per_prompt),
             {generated.tokens.begin() + generated.offsets[at],
              generated.tokens.begin() + generated.offsets[at + 1]}});
      }
    }
    return candidates;
  }

  // False when a command has to judge first.
  bool judge(const std::string& settings_hash) {
    text_.emplace(data::TokenText::of_folder(config_.tokenizer_folder()));
    const auto candidates = read_candidates();
    std::vector<bool> right;
    if (samples_.verify.how == "command") {
      const std::string verdicts = fmt::format(
          "{}.{}.verdicts.jsonl", prefix_, base::hash_hex(to_yaml(samples_.verify)).substr(0, 8));
      if (!fs::exists(verdicts)) {
        ask(candidates, verdicts);
        return false;
      }
      right = read_verdicts(candidates, verdicts);
    } else {
      const Verifier verifier(samples_.verify);
      for (const Candidate& candidate : candidates) {
        right.push_back(
            verifier.right(text(candidate.tokens), text(questions_->answer(candidate.question))));
      }
    }
    write_examples(candidates, right, settings_hash);
    parts_.faults.reach("samples_written", state_.step);
    fs::remove_all(prefix_ + ".parts");
    return true;
  }

  std::string text(std::span<const int32_t> tokens) const { return text_of(tokens, *text_); }

  void ask(const std::vector<Candidate>& candidates, const std::string& verdicts) {
    std::string lines;
    for (const Candidate& candidate : candidates) {
      const nlohmann::json line = {{"id", candidate.id},
                                   {"prompt", text(questions_->prompt(candidate.question))},
                                   {"completion", text(candidate.tokens)},
                                   {"answer", text(questions_->answer(candidate.question))}};
      lines += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    }
    const std::string questions = prefix_ + ".questions.jsonl";
    base::write_text_durably(questions, lines);
    write_commands(config_.run_folder(),
                   {{.name = fmt::format("verify {} of round {}", source_, round_.name),
                     .argv = samples_.verify.command,
                     .input = questions,
                     .output = verdicts,
                     .kind = "verdicts",
                     .folder = ""}});
  }

  static std::vector<bool> read_verdicts(const std::vector<Candidate>& candidates,
                                         const std::string& path) {
    std::map<std::string, bool> verdicts;
    std::istringstream lines(base::read_text(path));
    int64_t number = 0;
    for (std::string text; std::getline(lines, text);) {
      ++number;
      if (text.empty()) continue;
      const auto line = base::try_parse_json(text);
      const bool whole = line && line->is_object() && line->contains("id") &&
                         (*line)["id"].is_string() && line->contains("right") &&
                         (*line)["right"].is_boolean();
      if (!whole) {
        base::fail_user(
            "{}:{}: a verdict is a JSON object with \"id\" (text) and \"right\" (true or false). "
            "Remove the file, correct the command, and start again.",
            path, number);
      }
      verdicts[(*line)["id"].get<std::string>()] = (*line)["right"].get<bool>();
    }
    std::vector<bool> right;
    for (const Candidate& candidate : candidates) {
      const auto found = verdicts.find(candidate.id);
      if (found == verdicts.end()) {
        base::fail_user(
            "{}: has no verdict on {}. Remove the file, correct the command, and start again.",
            path, candidate.id);
      }
      right.push_back(found->second);
    }
    return right;
  }

  void write_examples(const std::vector<Candidate>& candidates, const std::vector<bool>& right,
                      const std::string& settings_hash) {
    const data::PackInputs& inputs = questions_->inputs();
    data::NewTokenized content;
    content.info = inputs.files().front().info();
    content.weight_table = inputs.weight_table();
    content.info.settings_hash = settings_hash;
    std::vector<std::string> paths;
    const auto origins = inputs.origins(questions_->examples(), paths);
    std::map<std::string, uint16_t> tags;
    std::map<int64_t, std::set<std::vector<int32_t>>> kept;
    int64_t count_right = 0;
    int64_t repeated = 0;
    std::set<int64_t> solved;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (!right[i]) continue;
      ++count_right;
      const Candidate& candidate = candidates[i];
      solved.insert(candidate.question);
      auto& own = kept[candidate.question];
      if (own.contains(candidate.tokens)) {
        ++repeated;
        continue;
      }
      if (std::ssize(own) >= samples_.most_kept) continue;
      own.insert(candidate.tokens);
      data::NewExample example = example_of(candidate);
      const auto question = static_cast<size_t>(candidate.question);
      example.origin = origins[question];
      for (const std::string& tag : inputs.tags(questions_->examples()[question])) {
        const auto found = tags.emplace(tag, static_cast<uint16_t>(tags.size()));
        if (found.second) content.tag_names.push_back(tag);
        example.tags.push_back(found.first->second);
      }
      content.examples.push_back(std::move(example));
    }
    if (content.examples.empty()) {
      base::fail_user(
          "sources.{}.samples: none of {} completions of {} questions is right ({} were finished). "
          "Look at them with `rondo inspect {}`; take an abler model (by), more completions "
          "(per_prompt) or another rule (verify).",
          source_, completions_, questions_->count(), candidates.size(), part(0));
    }
    auto files = nlohmann::json::array();
    for (const std::string& path : paths) files.push_back({{"path", path}});
    content.info.source_files = files.dump();
    base::Hasher hash;
    for (const auto& example : content.examples) {
      hash.add(std::as_bytes(std::span(example.tokens)));
      hash.add("|");
    }
    figures_ = {{"model", model_digest_},      {"questions", questions_->count()},
                {"completions", completions_}, {"finished", candidates.size()},
                {"right", count_right},        {"repeated", repeated},
                {"solved", solved.size()},     {"examples", content.examples.size()},
                {"content", hash.hex()}};
    content.info.counts = figures_.dump();
    data::write_tokenized(file_, content);
    auto event = figures_;
    event["event"] = "sampled";
    event["round"] = round_.name;
    event["source"] = source_;
    parts_.event(event);
    parts_.console.line(
        "  {}: {} of {} completions are right, {} of {} questions solved; {} examples in {}",
        source_, count_right, completions_, solved.size(), questions_->count(),
        content.examples.size(), file_);
  }

  data::NewExample example_of(const Candidate& candidate) const {
    const Conversation question = questions_->conversation(candidate.question);
    const auto prompt = static_cast<size_t>(questions_->prompt_length(candidate.question));
    const int32_t end_of_turn = questions_->end_of_turn();
    data::NewExample example;
    const auto add = [&](int32_t token, uint8_t code) {
      example.tokens.push_back(token);
      example.codes.push_back(code);
    };
    for (size_t t = 0; t < prompt; ++t) add(question.tokens[t], 0);
    for (const int32_t token : candidate.tokens) add(token, question.codes[prompt]);
    // As the end of the answer that was given weighs.
    const auto end = std::find(question.tokens.begin() + static_cast<ptrdiff_t>(prompt),
                               question.tokens.end(), end_of_turn);
    const bool ended = end != question.tokens.end();
    add(end_of_turn, ended ? question.codes[static_cast<size_t>(end - question.tokens.begin())]
                           : question.codes[prompt]);
    // The turns up to the answer, and the answer.
    const std::string turns = questions_->inputs().read_words(
        questions_->examples()[static_cast<size_t>(candidate.question)]);
    std::istringstream lines(turns);
    for (std::string line; std::getline(lines, line) && line.front() != 'a';) {
      example.words += line + "\n";
    }
    const std::string said = data::words_of(text(candidate.tokens));
    example.words += said.empty() ? "a" : "a " + said;
    return example;
  }

  const RunParts& parts_;
  const Config& config_;
  comm::Control& control_;
  const size_t index_;
  const RoundSection& round_;
  const std::string source_;
  const SamplesSection& samples_;
  const std::string file_;
  const RunState& state_;
  const uint64_t seed_;
  std::optional<Questions> questions_;
  std::string model_digest_;
  std::string prefix_;  // of the files on the way
  std::optional<data::TokenText> text_;
  int64_t completions_ = 0;
  nlohmann::json figures_;
};

}  // namespace

Made make_samples(const RunParts& parts, size_t round, const RunState& state,
                  bool& weights_changed) {
  for (const TrainedSource& trained : trained_sources(parts.config, round)) {
    if (trained.replayed || !parts.config.source(trained.name).samples) continue;
    const Made made = Maker(parts, round, state, trained.name).run(weights_changed);
    if (made != Made::kAll) return made;
    parts.control.on_first([&] { write_commands(parts.config.run_folder(), {}); });
  }
  return Made::kAll;
}

}  // namespace rondo::train
