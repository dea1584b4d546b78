#include "train/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/file.hpp"
#include "support/temp_folder.hpp"
#include "train/run_state.hpp"

namespace rondo::train {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kWhole = R"(
run: {name: gsm8k, dir: runs, seed: 1}
model: {from: path/to/hf-folder}
tokenizer: path/to/tokenizer-folder
precision: fp32
parallel: {tensor: 1, shard: auto, replicate: 1, zero: 1}
batch: {seq_len: 512, packs: 16, micro_packs: 4}
optimizer: {lr: 5.0e-6, betas: [0.9, 0.999], eps: 1.0e-8, weight_decay: 0.0, clip: 1.0}
schedule: {kind: linear, warmup: 0.03, final: 0.0}
checkpoint: {every: 50, keep: 2}
evaluate: {at_start: true, every: 200, max_examples: 500}
sources:
  gsm8k: {train: data/gsm8k-train.jsonl, heldout: data/gsm8k-test.jsonl, columns: {prompt: question, completion: answer}}
  general: {heldout: data/general.jsonl}
rounds:
  - {name: first, init: base, data: {gsm8k: 1.0}, epochs: 2}
  - {name: second, init: previous, optimizer_state: reset, optimizer: {lr: 2.0e-6}, data: {gsm8k: 1.0}, epochs: 1, gate: {on: gsm8k, max_loss_increase: 0.05, relative_to: previous, otherwise: stop}}
)";

// The shortest that reads; tests add to it or replace lines of it.
constexpr const char* kShort = R"(
run: {name: r}
model: {from: m}
sources: {a: {train: a.h5, heldout: h.h5}, b: {heldout: b.h5}}
rounds:
  - {name: first, data: {a: 1}}
)";

Config read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const test::TempFolder folder;
  base::write_text_durably(folder / "c.yaml", text);
  return read_config(folder / "c.yaml", overrides);
}

// What is wrong with a configuration, or that nothing is.
std::string problems(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    read(text, overrides);
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "nothing is wrong";
}

// kShort with one piece of it replaced.
std::string with(const std::string& piece, const std::string& replacement) {
  std::string text = kShort;
  const size_t at = text.find(piece);
  EXPECT_NE(at, std::string::npos) << piece;
  return text.replace(at, piece.size(), replacement);
}

TEST(Config, ReadsTheWhole) {
  const Config config = read(kWhole);
  EXPECT_EQ(config.run_folder(), "runs/gsm8k");
  EXPECT_EQ(config.run.seed, 1);
  EXPECT_EQ(config.model.from, "path/to/hf-folder");
  EXPECT_EQ(config.tokenizer_folder(), "path/to/tokenizer-folder");
  EXPECT_TRUE(config.parallel.shard.automatic());
  EXPECT_EQ(config.batch.micro_packs.value, 4);
  EXPECT_EQ(config.optimizer.lr, 5e-6);
  EXPECT_EQ(config.checkpoint.every.steps, 50);
  EXPECT_EQ(config.evaluate.every.steps, 200);
  ASSERT_EQ(config.sources.size(), 2);
  EXPECT_EQ(config.source("gsm8k").heldout.files.paths,
            std::vector<std::string>{"data/gsm8k-test.jsonl"});
  EXPECT_EQ(config.source("gsm8k").columns.front().second, "question");
  EXPECT_TRUE(config.source("general").train.paths.empty());
  ASSERT_EQ(config.rounds.size(), 2);
  EXPECT_EQ(config.rounds[0].init.kind, Init::Kind::kBase);
  EXPECT_EQ(config.rounds[0].epochs, 2);
  EXPECT_EQ(config.rounds[1].init.kind, Init::Kind::kPrevious);
  ASSERT_EQ(config.rounds[1].gate.size(), 1);
  EXPECT_EQ(config.rounds[1].gate[0].otherwise, "stop");
}

TEST(Config, RoundsMergeTheirKeysOverTheGlobalOnes) {
  const Config config = read(R"(
run: {name: r}
model: {from: m}
batch: {seq_len: 256, packs: 8}
optimizer: {lr: 1e-3, clip: 0.5, weight_decay: 0.1}
schedule: {kind: cosine, warmup: 7, final: 0.1}
evaluate: {at_start: false, every: 30}
sources: {a: {train: a.h5}}
rounds:
  - {name: one, data: {a: 1}}
  - {name: two, data: {a: 1}, batch: {packs: 4}, optimizer: {lr: 5e-4, betas: [0.8, 0.9]}, schedule: {kind: constant}, evaluate: {every: epoch}}
)");
  const RoundSection& one = config.rounds[0];
  EXPECT_EQ(one.batch.value.packs, 8);
  EXPECT_EQ(one.optimizer.value.lr, 1e-3);
  EXPECT_EQ(one.init.kind, Init::Kind::kBase) << "the default of the first round";
  const RoundSection& two = config.rounds[1];
  EXPECT_EQ(two.init.kind, Init::Kind::kPrevious);
  EXPECT_EQ(two.batch.value.packs, 4);
  EXPECT_EQ(two.batch.value.seq_len, 256);
  EXPECT_EQ(two.optimizer.value.lr, 5e-4);
  EXPECT_EQ(two.optimizer.value.betas, (std::vector<double>{0.8, 0.9}));
  EXPECT_EQ(two.optimizer.value.clip, 0.5);
  EXPECT_EQ(two.optimizer.value.weight_decay, 0.1);
  EXPECT_EQ(two.schedule.value.kind, "constant");
  EXPECT_EQ(two.schedule.value.warmup, 7);
  EXPECT_EQ(two.schedule.value.final, 0.1);
  EXPECT_TRUE(two.evaluate.value.every.epoch);
  EXPECT_FALSE(two.evaluate.value.at_start);
}

TEST(Config, AnOverrideReachesTheRoundsUnlessTheySayOtherwise) {
  const Config config = read(kWhole, {"optimizer.lr=0.25", "run.seed=9", "optimizer.clip=0"});
  EXPECT_EQ(config.run.seed, 9);
  EXPECT_EQ(config.rounds[0].optimizer.value.lr, 0.25);
  EXPECT_EQ(config.rounds[1].optimizer.value.lr, 2e-6);
  EXPECT_EQ(config.rounds[1].optimizer.value.clip, 0);
}

TEST(Config, FormsOfTheirOwn) {
  const auto every = [](const std::string& value) {
    return read(kShort, {"checkpoint.every=" + value}).checkpoint.every;
  };
  EXPECT_EQ(every("30min").seconds, 1800);
  EXPECT_TRUE(every("epoch").epoch);
  EXPECT_TRUE(every("never").never());
  EXPECT_EQ(every("12").steps, 12);
  EXPECT_EQ(read(kShort, {"evaluate.every=12"}).evaluate.every.steps, 12);
  EXPECT_TRUE(read(kShort, {"evaluate.every=epoch"}).evaluate.every.epoch);
  EXPECT_TRUE(read(kShort, {"evaluate.every=never"}).evaluate.every.never());
  EXPECT_THAT(problems(kShort, {"evaluate.every=30min"}),
              HasSubstr("evaluate.every must be a number of steps from 1 on, epoch, or never, "
                        "found '30min'"));
  const std::string wrong = problems(kShort, {"checkpoint.every=sometimes"});
  EXPECT_THAT(wrong, HasSubstr("checkpoint.every must be a number of steps"));
  EXPECT_THAT(problems(kShort, {"batch.micro_packs=0"}), HasSubstr("batch.micro_packs must be"));
  const Config config = read(with("heldout: h.h5", "heldout: {split: 500}"));
  EXPECT_EQ(config.source("a").heldout.split, 500);
  const Config list = read(with("train: a.h5", "train: [a.h5, 'b*.h5']"));
  EXPECT_EQ(list.source("a").train.paths, (std::vector<std::string>{"a.h5", "b*.h5"}));
  const Config start = read(with("{name: first,", "{name: first, init: {checkpoint: some/where},"));
  EXPECT_EQ(start.rounds[0].init.name, "some/where");
}

TEST(Config, WrittenOutItReadsBackAsItself) {
  const std::string rich = R"(
run: {name: "r 1", dir: 'a: b', seed: 3}
model: {shape: {hidden: 64, layers: 2, heads: 4, ffn: 96, vocab: 100, rope_theta: 1e6, tied: true}}
pack: {max_documents: 3, over_long: cut}
loss: {average: examples}
checkpoint: {every: 90min, resume: must}
sources:
  a: {train: ["x y.h5", 'q"uote.h5'], heldout: {split: 5}, columns: {prompt: "the: question"}}
  b: {heldout: b.h5, template: t.jinja}
rounds:
  - {name: one, init: {checkpoint: "c p"}, data: {a: 0.1}, tokens: 1000000}
  - {name: two, optimizer_state: carry, data: {a: 2.5}, steps: 7, evaluate: {every: epoch}}
  - {name: three, init: base, data: {a: 1}, epochs: 0.3, gate: {on: b, max_loss_increase: -0.1}}
)";
  for (const std::string& text : {std::string(kWhole), std::string(kShort), rich}) {
    const std::string resolved = resolved_yaml(read(text));
    EXPECT_EQ(resolved_yaml(read(resolved)), resolved);
    const Config again = read(resolved);
    for (size_t i = 0; i < again.rounds.size(); ++i) {
      EXPECT_EQ(round_yaml(again, i), round_yaml(read(text), i));
    }
  }
}

TEST(Config, EveryCheckAcrossFieldsSaysWhatIsWrong) {
  const struct {
    std::string piece, replacement, message;
  } cases[] = {
      {"{from: m}", "{}", "model: give either `from`"},
      {"{from: m}", "{from: m, shape: {hidden: 8, layers: 1, heads: 1, ffn: 8, vocab: 9}}",
       "not both"},
      {"  - {name: first, data: {a: 1}}", "  []", "rounds: at least one round is needed"},
      {"{name: r}", "{name: x/y}", "run.name: 'x/y' must be a plain folder name"},
      {"{name: r}", "{name: .x}", "run.name: '.x' must be a plain folder name"},
      {"data: {a: 1}}", "data: {a: 1}}\n  - {name: first, data: {a: 1}}",
       "rounds[1]: the name 'first' is taken by an earlier round"},
      {"name: first", "name: 'a b'", "a round's name becomes a folder's"},
      {"name: first", "name: 'a\"b'", "a round's name becomes a folder's"},
      {"name: first", "name: ''", "a round's name becomes a folder's"},
      {"name: first", "name: base", "'base' is the base model's row"},
      {"{a: {train", "{'../a': {train", "a source's name becomes a folder's"},
      {"data: {a: 1}", "data: {}", "has no `data`"},
      {"data: {a: 1}", "data: {aa: 1}", "data.aa: there is no such source. Did you mean 'a'?"},
      {"data: {a: 1}", "data: {b: 1}", "data.b: this source has no `train` files"},
      {"data: {a: 1}", "data: {a: 1}, steps: 3, epochs: 1", "give only one of"},
      {"data: {a: 1}", "data: {a: 1}, shares: {a: 1}", "both `data` (passes) and `shares`"},
      {"data: {a: 1}", "shares: {aa: 1}", "shares.aa: there is no such source. Did you mean 'a'?"},
      {"data: {a: 1}", "shares: {a: 1, replay: 1}", "shares.replay: there is no earlier round"},
      {"data: {a: 1}", "shares: {a: 1, b: auto}", "sum to 1, which leaves nothing"},
      {"data: {a: 1}", "data: {a: 1}, by: tokens", "`by` needs `shares`"},
      {"data: {a: 1}", "shares: {a: 1}, temperature: 5", "`temperature` needs `shares` of which"},
      {"data: {a: 1}}", "data: {a: 1}}\n  - {name: second, data: {a: 1, replay: 1}}",
       "earlier rounds have no source that this round does not name"},
      {"data: {a: 1}", "shares: {a: 0}", "must be auto or a number above 0"},
      {"data: {a: 1}", "shares: {a: 1}, tokens: 5M, steps: 3, epochs: 1", "give only one of"},
      {"b: {heldout: b.h5}", "replay: {heldout: b.h5}", "'replay' stands for earlier rounds'"},
      {"{name: r}", "{name: r}\nclean: {near: remover}", "clean.near"},
      {"name: first", "name: first, init: previous", "`init: previous` in the first round"},
      {"name: first", "name: first, optimizer_state: carry",
       "`optimizer_state: carry` in the first round"},
      {"data: {a: 1}}",
       "data: {a: 1}}\n  - {name: second, init: base, optimizer_state: carry, data: {a: 1}}",
       "`optimizer_state: carry` needs `init: previous`"},
      {"name: first", "name: first, optimizer: {betas: [0.9]}", "betas must be two numbers"},
      {"name: first", "name: first, gate: {on: c}", "gate.on: 'c' is not a source with held-out"},
      {"b: {heldout: b.h5}", "b: {}", "sources.b: has neither `train` nor `heldout`"},
      {"b: {heldout: b.h5}", "b: {heldout: {split: 5}}", "takes examples from `train`"},
  };
  ASSERT_EQ(problems(kShort), "nothing is wrong");
  for (const auto& [piece, replacement, message] : cases) {
    EXPECT_THAT(problems(with(piece, replacement)), HasSubstr(message)) << replacement;
  }
}

TEST(Config, ReplayStandsForTheSourcesOfEarlierRounds) {
  const Config config = read(R"(
run: {name: r}
model: {from: m}
sources: {a: {train: a.h5}, b: {train: b.h5}, c: {train: c.h5}, d: {train: d.h5}}
rounds:
  - {name: first, data: {c: 1, a: 2}}
  - {name: second, shares: {b: 1}}
  - {name: third, shares: {replay: 0.2, d: auto, a: 0.1}, tokens: 200M}
)");
  const auto names = [&](size_t round) {
    std::vector<std::pair<std::string, size_t>> found;
    for (const auto& source : trained_sources(config, round)) {
      found.emplace_back(source.name, source.key);
      EXPECT_EQ(source.replayed, round == 2 && source.key == 0);
    }
    return found;
  };
  using Found = std::vector<std::pair<std::string, size_t>>;
  EXPECT_EQ(names(0), (Found{{"c", 0}, {"a", 1}}));
  EXPECT_EQ(names(1), (Found{{"b", 0}}));
  EXPECT_EQ(names(2), (Found{{"b", 0}, {"c", 0}, {"d", 1}, {"a", 2}}));
  EXPECT_EQ(config.rounds[2].tokens, 200'000'000);
  EXPECT_EQ(config.rounds[2].shares[1].second.value, 0);
}

TEST(Config, AGateOnASourceWithoutHeldoutExamplesIsAnError) {
  std::string text = with(", heldout: h.h5", "");
  const std::string piece = "name: first";
  text.replace(text.find(piece), piece.size(), "name: first, gate: {on: a}");
  EXPECT_THAT(problems(text), HasSubstr("gate.on: 'a' is not a source with held-out"));
}

TEST(Config, ListsAllThatIsWrongWithItsLine) {
  const std::string text = problems(R"(
run: {name: r}
model: {from: m}
sources: {a: {train: a.h5}}
rounds:
  - {name: one, data: {a: 1, c: 1}, epochs: 1, steps: 2}
  - {name: one, data: {a: 1}}
)");
  EXPECT_THAT(text, HasSubstr("c.yaml:6: rounds[0] (one): data.c"));
  EXPECT_THAT(text, HasSubstr("c.yaml:6: rounds[0] (one): give only one of"));
  EXPECT_THAT(text, HasSubstr("c.yaml:7: rounds[1]: the name 'one'"));
}

TEST(Config, NamesOfOtherProgramsLeadToTheRightKey) {
  const struct {
    std::string theirs, ours;
  } names[] = {{"gradient_accumulation_steps", "micro_packs"},
               {"max_seq_length", "seq_len"},
               {"per_device_train_batch_size", "micro_packs"}};
  for (const auto& [theirs, ours] : names) {
    const std::string text = problems(std::string(kShort) + theirs + ": 4\n");
    EXPECT_THAT(text, HasSubstr(theirs));
    EXPECT_THAT(text, HasSubstr(ours));
  }
}

TEST(Config, KeysInTheWrongSectionAreToldTheirPlace) {
  const struct {
    std::string text, message;
  } cases[] = {
      {"seed: 4\n", "'seed'. Did you mean 'run.seed' or 'rounds[].seed'?"},
      {"epochs: 4\n", "'epochs'. Did you mean 'rounds[].epochs'?"},
      {"lr: 4\n", "'lr'. Did you mean 'optimizer.lr'?"},
      {"weight-decay: 4\n", "'weight-decay'. Did you mean 'optimizer.weight_decay'?"},
      {"ffn: 4\n", "'ffn'. Did you mean 'model.shape.ffn'?"},
      {"every: 4\n", "'every'. Did you mean 'checkpoint.every' or 'evaluate.every'?"},
      {"max_rejected: 0\n", "'max_rejected'. Did you mean 'pack.max_rejected'?"},
      {"schedule: {seed: 4}\n", "'schedule.seed'. Did you mean 'run.seed' or 'rounds[].seed'?"},
      {"pack: {sources: 4}\n", "'pack.sources'. Did you mean 'sources' at the top level?"},
      {"batch: {pack: 4}\n", "'batch.pack'. Did you mean 'packs' or 'pack' at the top level?"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(problems(kShort + text), HasSubstr("unknown key " + message));
  }
  EXPECT_THAT(problems(with("name: first", "name: first, lr: 4")),
              HasSubstr("'rounds[0].lr'. Did you mean 'rounds[0].optimizer.lr' or"));
  EXPECT_THAT(problems(with("train: a.h5", "path: a.h5")),
              HasSubstr("'sources.a.path'. In rondo this is sources.NAME.train"));
}

TEST(Config, AFileWithoutAMapIsNamedAndToldWhatToHold) {
  for (const char* text : {"", "\n# nothing yet\n", "null\n", "- run\n", "words\n"}) {
    EXPECT_THAT(problems(text), testing::MatchesRegex(".*/c\\.yaml.*: a configuration is a map "
                                                      "with the keys run, .*configs/.*"))
        << text;
  }
}

// What a resume compares.
TEST(RoundYaml, IsBlindToWhereAndHowOftenThingsAreWritten) {
  const std::string before = round_yaml(read(kWhole), 1);
  for (const char* harmless :
       {"run.print_every=3", "run.max_steps=7", "run.name=other", "run.dir=elsewhere",
        "checkpoint.every=7", "checkpoint.keep=9", "checkpoint.resume=must",
        "checkpoint.verify=manifest", "evaluate.every=9", "evaluate.at_start=false",
        "export.dtype=bf16", "export.rounds=false", "non_finite.action=skip"}) {
    EXPECT_EQ(round_yaml(read(kWhole, {harmless}), 1), before) << harmless;
  }
}

TEST(RoundYaml, SeesWhatChangesTheComputation) {
  const std::string before = round_yaml(read(kWhole), 0);
  for (const char* change :
       {"run.seed=2", "optimizer.lr=1", "optimizer.betas=[0.5, 0.5]", "optimizer.clip=2",
        "schedule.kind=cosine", "schedule.warmup=5", "batch.packs=32", "batch.seq_len=256",
        "batch.micro_packs=2", "loss.average=examples", "pack.max_documents=4", "model.from=other",
        "sources.gsm8k.train=other.jsonl", "clean.near=report"}) {
    EXPECT_NE(round_yaml(read(kWhole, {change}), 0), before) << change;
  }
}

std::string rounds_of(const std::string& more) { return std::string(kShort) + more; }

// The state of a run that has begun the rounds of `text` up to `round`.
RunState state_of(const std::string& text, int64_t round) {
  const Config config = read(text);
  RunState state;
  state.round = round;
  for (size_t i = 0; i <= static_cast<size_t>(round); ++i) {
    state.round_configs[config.rounds[i].name] = round_yaml(config, i);
  }
  return state;
}

std::string resume_problems(const RunState& state, const std::string& text,
                            const std::vector<std::string>& overrides = {}) {
  try {
    check_same_rounds(state, read(text, overrides));
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "nothing is wrong";
}

TEST(CheckSameRounds, LaterRoundsMayChangeBegunOnesMayNot) {
  const std::string two = rounds_of("  - {name: second, data: {a: 1}}\n");
  const RunState in_first = state_of(two, 0);
  EXPECT_EQ(resume_problems(in_first, two), "nothing is wrong");
  EXPECT_EQ(resume_problems(in_first, kShort), "nothing is wrong");
  EXPECT_EQ(resume_problems(in_first, rounds_of("  - {name: second, data: {a: 3}, steps: 4}\n")),
            "nothing is wrong");
  const std::string changed = resume_problems(in_first, two, {"optimizer.lr=0.5"});
  EXPECT_THAT(changed, HasSubstr("round 'first' was begun with another configuration"));
  EXPECT_THAT(changed, HasSubstr("lr: 1e-05' then"));
  EXPECT_THAT(changed, HasSubstr("lr: 0.5' now"));
  const RunState in_second = state_of(two, 1);
  EXPECT_THAT(resume_problems(in_second, kShort), HasSubstr("has begun 2 rounds"));
  EXPECT_THAT(resume_problems(in_second, rounds_of("  - {name: other, data: {a: 1}}\n")),
              HasSubstr("round 1 of the run in"));
}

TEST(CheckSameRounds, RoundsThatShareAScheduleAreOne) {
  const std::string carried =
      rounds_of("  - {name: second, optimizer_state: carry, data: {a: 1}, steps: 5}\n");
  const RunState state = state_of(carried, 0);
  EXPECT_EQ(resume_problems(state, carried), "nothing is wrong");
  for (const char* later :
       {"", "  - {name: second, optimizer_state: carry, data: {a: 1}, steps: 6}\n",
        "  - {name: second, data: {a: 1}, steps: 5}\n"}) {
    EXPECT_THAT(resume_problems(state, rounds_of(later)),
                HasSubstr("round 'first' was begun with another configuration"))
        << later;
  }
  EXPECT_EQ(resume_problems(state, rounds_of("  - {name: second, optimizer_state: carry, data: "
                                             "{a: 1}, steps: 5, optimizer: {lr: 1}}\n")),
            "nothing is wrong")
      << "a rate of its own changes no length";
}

TEST(RunState, JsonReadsBack) {
  const Config config = read(kShort);
  RunState state;
  state.round_step = 3;
  state.step = 7;
  state.adam_step = 6;
  state.schedule_start = 2;
  state.skipped = 1;
  state.round_trained = true;
  state.has_optimizer = false;
  state.matrix.set("base", {{"a", {1.5, 0.5}}});
  state.round_configs["first"] = round_yaml(config, 0);
  state.plan_hashes["first"] = "abc";
  state.micro_packs["first"] = 4;
  state.model_config = "{}";
  state.tokenizer = "t";
  state.end_of_turn = {5, 7};
  state.chat_template = "{{ messages }}";
  const std::string text = state.to_json(config).dump();
  EXPECT_EQ(RunState::from_json(nlohmann::json::parse(text)).to_json(config).dump(), text);
  EXPECT_THROW(RunState::from_json(nlohmann::json::object()), base::UserError);
}

TEST(ConfigurationReference, NamesEveryKeyOfTheExample) {
  const std::string text = configuration_reference();
  for (const char* key :
       {"run.name", "model.from", "model.shape.rope_theta", "parallel.shard", "batch.micro_packs",
        "pack.max_documents", "loss.average", "optimizer.betas", "schedule.warmup",
        "checkpoint.every", "sources.NAME.heldout", "rounds[].optimizer_state",
        "rounds[].gate[].relative_to", "rounds[].optimizer.lr"}) {
    EXPECT_THAT(text, HasSubstr(key));
  }
  EXPECT_THAT(text, Not(HasSubstr("rounds[].place")));
  EXPECT_THAT(text, HasSubstr("`checkpoint.every` | steps, 30min, epoch, never |"));
  EXPECT_THAT(text, HasSubstr("`evaluate.every` | steps, epoch, never |"));
}

}  // namespace
}  // namespace rondo::train
