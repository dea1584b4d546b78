// The field table: names, meanings, ranges and choices of every key. See base/config.hpp.
#pragma once

#include <algorithm>

#include "train/config.hpp"

namespace rondo::train {

void read_yaml(const base::YamlNode& node, AutoCount& value, const std::string& path,
               base::Problems& problems);
std::string to_yaml(const AutoCount& value);
std::string yaml_form(const AutoCount& value);
void read_yaml(const base::YamlNode& node, ZeroStage& value, const std::string& path,
               base::Problems& problems);
std::string to_yaml(const ZeroStage& value);
std::string yaml_form(const ZeroStage& value);
void read_yaml(const base::YamlNode& node, RecomputeSection& value, const std::string& path,
               base::Problems& problems);
std::string to_yaml(const RecomputeSection& value);
std::string yaml_form(const RecomputeSection& value);
void read_yaml(const base::YamlNode& node, Interval& value, const std::string& path,
               base::Problems& problems);
std::string to_yaml(const Interval& value);
std::string yaml_form(const Interval& value);
void read_yaml(const base::YamlNode& node, StepInterval& value, const std::string& path,
               base::Problems& problems);
std::string yaml_form(const StepInterval& value);
void read_yaml(const base::YamlNode& node, Share& value, const std::string& path,
               base::Problems& problems);
std::string to_yaml(const Share& value);
std::string yaml_form(const Share& value);
void read_yaml(const base::YamlNode& node, Paths& value, const std::string& path,
               base::Problems& problems);
std::string to_yaml(const Paths& value);
std::string yaml_form(const Paths& value);
void read_yaml(const base::YamlNode& node, Heldout& value, const std::string& path,
               base::Problems& problems);
std::string to_yaml(const Heldout& value);
std::string yaml_form(const Heldout& value);
void read_yaml(const base::YamlNode& node, Init& value, const std::string& path,
               base::Problems& problems);
std::string to_yaml(const Init& value);
std::string yaml_form(const Init& value);
void read_yaml(const base::YamlNode& node, VerifySection& value, const std::string& path,
               base::Problems& problems);
std::string to_yaml(const VerifySection& value);
std::string yaml_form(const VerifySection& value);
// A map is one gate.
void read_yaml(const base::YamlNode& node, std::vector<GateSection>& value, const std::string& path,
               base::Problems& problems);

template <class V>
void describe(V& v, RunSection& c) {
  v("name", c.name,
    {.meaning = "Name of the run; its folder is `run.dir/run.name`.", .required = true});
  v("dir", c.dir, {.meaning = "Folder that holds run folders."});
  v("seed", c.seed,
    {.meaning = "Seed of initial weights, packing and the order of packs.", .minimum = 0});
  v("max_steps", c.max_steps,
    {.meaning = "End the run with a checkpoint and exit code 0 after this many steps over all "
                "rounds; 0: never. A later start goes on.",
     .minimum = 0});
  v("max_minutes", c.max_minutes,
    {.meaning = "Stop with a checkpoint and exit code 75 in time for so many minutes since the "
                "start; 0: no limit. The end of a Slurm job (SLURM_JOB_END_TIME) is kept besides.",
     .minimum = 0});
  v("most_restarts", c.most_restarts,
    {.meaning = "Starts in a row that may end without a new checkpoint; the next one ends at once "
                "with exit code 93. Another configuration or program counts anew. 0: any number.",
     .minimum = 0});
  v("print_every", c.print_every,
    {.meaning = "Steps between progress lines where the output is not a terminal.", .minimum = 1});
}

template <class V>
void describe(V& v, ShapeSection& c) {
  const auto positive = [](const char* meaning) {
    return base::Field{.meaning = meaning, .minimum = 1, .required = true};
  };
  v("hidden", c.hidden, positive("Width of the residual stream."));
  v("layers", c.layers, positive("Transformer blocks."));
  v("heads", c.heads, positive("Query heads."));
  v("kv_heads", c.kv_heads,
    {.meaning = "Key/value heads; 0: as many as `heads`. Divides `heads`.", .minimum = 0});
  v("head_width", c.head_width, {.meaning = "Width of a head; 0: `hidden / heads`.", .minimum = 0});
  v("ffn", c.ffn, positive("Width of the feed-forward layer."));
  v("vocab", c.vocab, positive("Embedding rows; at least the ids of the tokenizer."));
  v("max_seq", c.max_seq,
    {.meaning = "Longest document in tokens that the model has positions for.", .minimum = 1});
  v("rope_theta", c.rope_theta,
    {.meaning = "Base of the rotary frequencies.", .minimum = 0, .above_minimum = true});
  v("norm_eps", c.norm_eps,
    {.meaning = "Epsilon of the RMS norms.", .minimum = 0, .above_minimum = true});
  v("tied", c.tied, {.meaning = "Use the embedding as the output head."});
  v("qkv_bias", c.qkv_bias, {.meaning = "Biases on q, k and v (as Qwen2)."});
  v("qk_norm", c.qk_norm, {.meaning = "RMS norm on each query and key head (as Qwen3)."});
}

template <class V>
void describe(V& v, ModelSection& c) {
  v("from", c.from,
    {.meaning = "The base model: a Hugging Face folder, or a checkpoint of rondo. Give this or "
                "`shape`."});
  v("shape", c.shape, {.meaning = "A new model with random weights, seeded by `run.seed`."});
  v("vocab", c.vocab,
    {.meaning = "Embedding rows of the model that is trained; `auto`: those of `from`. Where it is "
                "more, as for a tokenizer that was given more ids, the new rows of embedding and "
                "head start as the mean of the old ones."});
}

template <class V>
void describe(V& v, ParallelSection& c) {
  v("tensor", c.tensor,
    {.meaning =
         "Ranks that divide each layer (tensor parallelism, with sequence parallelism between "
         "the blocks); `auto`: 1, or as many ranks of a node as the memory needs. Divides "
         "the attention heads; divides the key/value heads or is a multiple of them."});
  v("shard", c.shard,
    {.meaning = "Data-parallel ranks that divide the state as `zero` says; `auto`: all that "
                "`tensor` and `replicate` leave."});
  v("replicate", c.replicate,
    {.meaning =
         "Groups of `tensor * shard` ranks that hold the state in full each (hybrid "
         "sharding); `auto`: what `tensor` and `shard` leave, 1 where `shard` is `auto` too."});
  v("zero", c.zero,
    {.meaning = "ZeRO stage: what the ranks of `shard` divide. 0: nothing, they are replicas. 1: "
                "Adam's moments. 2: gradients too. 3: weights too, gathered a block ahead of their "
                "use. `auto`: the lowest from 1 on that fits the memory."});
  v("reproducible", c.reproducible,
    {.meaning = "The same losses and weights, to the bit, for every number of data-parallel ranks "
                "that divides `reduction_lanes` (on one processor model, set of libraries and "
                "tensor size). Gradients then stay whole on each rank at every ZeRO stage, and "
                "`batch.micro_packs` must be given."});
  v("reduction_lanes", c.reduction_lanes,
    {.meaning = "Equal parts of a step's packs whose gradients are summed in one fixed order in a "
                "reproducible run; a power of two. `batch.packs` must be a multiple of "
                "reduction_lanes * micro_packs.",
     .minimum = 1,
     .maximum = 1 << 16});
  v("gradient_exchange", c.gradient_exchange,
    {.meaning = "In what precision data-parallel ranks send each other the gradients they have "
                "summed; they are added up in float32. bf16 halves the bytes of that and rounds "
                "what is sent: once for each axis of ranks, and for each micro-batch at ZeRO-2 "
                "and 3.",
     .choices = {"fp32", "bf16"}});
  v("deadline_s", c.deadline_s,
    {.meaning =
         "Seconds that a rank waits for the others in one collective before the run ends with "
         "the names of those that did not come; 0: for ever.",
     .minimum = 0});
  v("check_collectives", c.check_collectives,
    {.meaning = "Compare every collective of tensors over its ranks before it starts, and name "
                "those that differ. To look for a bug in rondo: it costs a round trip for each."});
}

template <class V>
void describe(V& v, BatchSection& c) {
  v("seq_len", c.seq_len, {.meaning = "Tokens of a pack.", .minimum = 2, .maximum = 1 << 24});
  v("packs", c.packs,
    {.meaning = "Packs of a step, over all ranks: the global batch is `packs * seq_len` tokens.",
     .minimum = 1});
  v("micro_packs", c.micro_packs,
    {.meaning = "Packs per rank and micro-batch; `auto`: the most that fits a quarter of the "
                "memory, up to 4096 tokens. `packs` must be a multiple of ranks * micro_packs."});
  v("read_ahead", c.read_ahead,
    {.meaning = "Packs that each rank reads ahead of the training, in whole micro-batches; `auto`: "
                "two micro-batches. No rank holds more than these and the micro-batch in hand."});
}

template <class V>
void describe(V& v, PackSection& c) {
  v("max_documents", c.max_documents,
    {.meaning = "Most documents in a pack; 0: no bound.", .minimum = 0});
  v("over_long", c.over_long,
    {.meaning = "What happens to examples longer than `batch.seq_len`: left out and counted, "
                "refused, or cut at the end and counted.",
     .choices = {"drop", "error", "cut"}});
  v("max_rejected", c.max_rejected,
    {.meaning = "Largest share of a source's examples that may be dropped as over-long.",
     .minimum = 0,
     .maximum = 1});
}

template <class V>
void describe(V& v, ContaminationSection& c) {
  v("action", c.action,
    {.meaning = "What happens to training examples that hold a question of an evaluation set: not "
                "looked for, reported, or removed.",
     .choices = {"off", "report", "remove"}});
  v("ngram", c.ngram,
    {.meaning = "Words of a match; an evaluation's question of fewer words is compared whole.",
     .minimum = 1,
     .maximum = 64});
  v("share", c.share,
    {.meaning = "A training example hits a question when its matches cover more than this share of "
                "the question's words.",
     .minimum = 0,
     .maximum = 1});
  v("max_hit", c.max_hit,
    {.meaning = "The run is refused when the examples of one source hit more than this share of an "
                "evaluation set; 1: never.",
     .minimum = 0,
     .maximum = 1});
}

template <class V>
void describe(V& v, EvaluationSetSection& c) {
  v("files", c.files,
    {.meaning = "JSONL, JSON or Parquet (globs allowed), or tokenised `.h5` files.",
     .required = true});
  v("text", c.text,
    {.meaning = "Column that holds the question, or a list of columns; default: recognised "
                "(messages, conversations, turns, prompt, question, instruction)."});
}

template <class V>
void describe(V& v, CleanSection& c) {
  const auto action = [](const char* meaning) {
    return base::Field{.meaning = meaning, .choices = {"off", "report", "remove"}};
  };
  v("exact", c.exact, action("Examples of the same tokens and weights as one before."));
  v("near", c.near,
    action("Examples whose users' and assistants' words are nearly those of another, by MinHash, "
           "verified on the words."));
  v("across_rounds", c.across_rounds,
    action(
        "Examples that are the same as, or near, one of an earlier round from a source that this "
        "round does not name; a source named again is meant to come again."));
  v("jaccard", c.jaccard,
    {.meaning = "Least similarity of near-duplicates: common shingles over all shingles.",
     .minimum = 0,
     .maximum = 1,
     .above_minimum = true});
  v("shingle_words", c.shingle_words,
    {.meaning = "Words of a shingle.", .minimum = 1, .maximum = 64});
  v("bands", c.bands,
    {.meaning = "Bands of MinHash: a pair of similarity s is found with the probability "
                "1 - (1 - s^band_rows)^bands.",
     .minimum = 1,
     .maximum = 1024});
  v("band_rows", c.band_rows, {.meaning = "Hashes of a band.", .minimum = 1, .maximum = 64});
  v("keep", c.keep,
    {.meaning = "Which one of a group of near-duplicates stays: the one of most tokens, or the "
                "first.",
     .choices = {"longest", "first"}});
  v("max_removed", c.max_removed,
    {.meaning = "The run is refused when more than this share of a source's examples would be "
                "removed as duplicates.",
     .minimum = 0,
     .maximum = 1});
  v("contamination", c.contamination,
    {.meaning = "Questions of evaluation sets in training examples (the rule of Tulu 3)."});
  v("evaluation_sets", c.evaluation_sets,
    {.meaning = "Named sets whose questions must not be trained on."});
}

template <class V>
void describe(V& v, LossSection& c) {
  v("average", c.average,
    {.meaning = "`tokens`: every trainable token of the global batch weighs by its weight. "
                "`examples`: every example has the same total weight.",
     .choices = {"tokens", "examples"}});
}

template <class V>
void describe(V& v, OptimizerSection& c) {
  v("lr", c.lr, {.meaning = "Peak learning rate of AdamW.", .minimum = 0, .above_minimum = true});
  v("betas", c.betas,
    {.meaning = "Decay rates of the two moments.", .minimum = 0, .maximum = 0.999999999});
  v("eps", c.eps,
    {.meaning = "Added to the root of the second moment.", .minimum = 0, .above_minimum = true});
  v("weight_decay", c.weight_decay,
    {.meaning = "Decoupled weight decay of matrices (not of norms and biases).", .minimum = 0});
  v("clip", c.clip,
    {.meaning = "Largest global norm of the gradient; 0: no clipping.", .minimum = 0});
}

template <class V>
void describe(V& v, ScheduleSection& c) {
  v("kind", c.kind,
    {.meaning = "Learning rate after the warm-up: `constant`, `linear` or `cosine` down to "
                "`final`, or `wsd` (stable, then a linear decay over the last share `decay`).",
     .choices = {"constant", "linear", "cosine", "wsd"}});
  v("warmup", c.warmup,
    {.meaning = "Linear warm-up from 0: below 1 a share of the schedule's steps, from 1 on a "
                "number of steps.",
     .minimum = 0});
  v("final", c.final,
    {.meaning = "Learning rate at the end, as a share of `optimizer.lr`.",
     .minimum = 0,
     .maximum = 1});
  v("decay", c.decay,
    {.meaning = "Of `wsd`: share of the steps that the decay takes.", .minimum = 0, .maximum = 1});
}

template <class V>
void describe(V& v, NonFiniteSection& c) {
  v("action", c.action,
    {.meaning = "What happens when a loss or gradient is not finite, before anything is updated. "
                "`stop`: the run ends (exit code 3). `skip`: the step is not applied. `rollback`: "
                "the run goes back to the last checkpoint and does not apply the step when it "
                "comes to it again.",
     .choices = {"stop", "skip", "rollback"}});
  v("limit", c.limit,
    {.meaning = "Of `skip` and `rollback`: the run stops after so many of them.", .minimum = 1});
}

template <class V>
void describe(V& v, SpikeSection& c) {
  v("loss", c.loss,
    {.meaning = "A step whose loss is more than so many times the median of the steps before is a "
                "spike; 0: no loss is.",
     .minimum = 0});
  v("grad_norm", c.grad_norm,
    {.meaning = "The same of the gradient's norm before clipping.", .minimum = 0});
  v("window", c.window,
    {.meaning = "Applied steps whose median is meant; before there are so many nothing is a spike.",
     .minimum = 2,
     .maximum = 10000});
  v("action", c.action,
    {.meaning = "What happens to a spike, before anything is updated; as in `non_finite.action`. "
                "`rollback` leaves out the step before it too, whose update may have caused it.",
     .choices = {"stop", "skip", "rollback"}});
  v("limit", c.limit,
    {.meaning = "Of `skip` and `rollback`: the run stops after so many of them.", .minimum = 1});
}

template <class V>
void describe(V& v, CheckpointSection& c) {
  v("every", c.every, {.meaning = "How often a checkpoint is saved. Each round's end always is."});
  v("keep", c.keep,
    {.meaning = "Newest checkpoints that are kept; the rounds' ends are kept besides, as weights.",
     .minimum = 1});
  v("resume", c.resume,
    {.meaning = "`auto`: go on from the newest valid checkpoint if there is one; `must`: fail when "
                "there is none; `never`: fail when there is one.",
     .choices = {"auto", "must", "never"}});
  v("verify", c.verify,
    {.meaning = "What is checked when a checkpoint is read: every byte, or the manifest and the "
                "sizes of files.",
     .choices = {"full", "manifest"}});
  v("writers_per_node", c.writers_per_node,
    {.meaning = "Files that the ranks of a node write together, at most one per rank; 0: one file "
                "of all ranks.",
     .minimum = 0});
  v("background", c.background,
    {.meaning = "`on`: what is saved in the middle of a round is copied to memory set aside at the "
                "start, and written while the training goes on. `off`: the ranks wait. `auto`: on "
                "where the memory allows it.",
     .choices = {"auto", "on", "off"}});
  v("most_failures", c.most_failures,
    {.meaning = "Saves in the middle of a round that may fail one after another, as on a full "
                "disk, before the run ends (exit code 3); the checkpoints before stay good.",
     .minimum = 0});
}

template <class V>
void describe(V& v, WatchdogSection& c) {
  v("factor", c.factor,
    {.meaning = "A step, or a batch of an evaluation, may take so many times the longest one of "
                "its round so far; after that the run ends (exit code 3) with reports of all "
                "ranks. 0: nothing is watched.",
     .minimum = 0});
  v("least_s", c.least_s,
    {.meaning = "But so many seconds are always allowed. More where file systems stall.",
     .minimum = 1});
  v("first_s", c.first_s,
    {.meaning = "Seconds allowed for the first step and batch of a round, and always for the "
                "start, a load, a save and an export. Packing is not watched.",
     .minimum = 1});
}

template <class V>
void describe(V& v, EvaluateSection& c) {
  v("at_start", c.at_start,
    {.meaning = "Evaluate every held-out set before the first step. In a later round: where it "
                "starts from a checkpoint."});
  v("every", c.every,
    {.meaning = "How often every held-out set is evaluated inside a round: steps, epoch or "
                "never. The end of a round always is."});
  v("max_examples", c.max_examples,
    {.meaning = "Examples of each held-out set, chosen by seed; 0: all. In a round: for what is "
                "evaluated inside it; the ends of all rounds take the same examples.",
     .minimum = 0});
  v("answers", c.answers,
    {.meaning = "Held-out examples of each source that the model answers itself (greedy) at the "
                "ends of rounds, for the share of right answers (exact match); 0: none. The same "
                "for all rounds.",
     .minimum = 0});
  v("max_new_tokens", c.max_new_tokens,
    {.meaning = "Tokens of such an answer; one that is not finished then is wrong.", .minimum = 1});
}

template <class V>
void describe(V& v, KeepSection& c) {
  v("score", c.score,
    {.meaning = "Name of the score: a column of the file of scores (docs/formats/scores.md).",
     .required = true});
  v("file", c.file,
    {.meaning = "That file; default: beside the tokenised one, `x.h5` -> `x.scores.h5`."});
  v("above", c.above, {.meaning = "Examples with a higher score alone."});
  v("below", c.below, {.meaning = "Examples with a lower score alone."});
  v("top", c.top,
    {.meaning = "Of those, the share with the highest scores.", .minimum = 0, .maximum = 1});
}

template <class V>
void describe(V& v, SamplesSection& c) {
  v("prompts", c.prompts,
    {.meaning = "Source whose training examples are the questions; their answers are what "
                "completions are compared with.",
     .required = true});
  v("by", c.by, {.meaning = "Model that answers; as `rounds[].init`."});
  v("max_prompts", c.max_prompts,
    {.meaning = "A seeded choice of at most so many questions; 0: all.", .minimum = 0});
  v("per_prompt", c.per_prompt, {.meaning = "Completions of each.", .minimum = 1});
  v("most_kept", c.most_kept,
    {.meaning = "At most so many different right ones of each become examples.", .minimum = 1});
  v("temperature", c.temperature,
    {.meaning = "Logits are divided by it; 0: the most likely token, always.", .minimum = 0});
  v("top_p", c.top_p,
    {.meaning = "Only the most likely tokens that together reach this probability.",
     .minimum = 0,
     .maximum = 1,
     .above_minimum = true});
  v("top_k", c.top_k, {.meaning = "Only the k most likely tokens; 0: all.", .minimum = 0});
  v("max_new_tokens", c.max_new_tokens,
    {.meaning = "Tokens of a completion; one that is not finished then is wrong.", .minimum = 1});
  v("slots", c.slots, {.meaning = "Sequences at a time on each rank.", .minimum = 1});
  v("verify", c.verify,
    {.meaning = "What is right: the same text as the answer; the same last number; the same last "
                "match of a pattern (of its first group); or what a command says, which is run by "
                "launch/rounds (docs/rounds.md)."});
}

template <class V>
void describe(V& v, SourceSection& c) {
  v("samples", c.samples,
    {.meaning = "In place of `train`: examples that each round which names this source makes "
                "before its first step, of right answers of a model (rejection sampling)."});
  v("train", c.train,
    {.meaning = "Training examples: JSONL or JSON (globs allowed), or tokenised `.h5` files. "
                "Absent: the source is only watched."});
  v("heldout", c.heldout,
    {.meaning = "Held-out examples: files like `train`, or `{split: N}`: N examples chosen by "
                "seed and left out of training."});
  v("columns", c.columns,
    {.meaning = "Names of the columns of files in a form of their own, such as "
                "`{prompt: question, completion: answer}`."});
  v("format", c.format,
    {.meaning = "Form of the examples; `auto` recognises it.",
     .choices = {"auto", "messages", "alpaca", "sharegpt", "prompt_completion", "tokens"}});
  v("template", c.chat_template,
    {.meaning = "`auto`: the tokenizer's own Jinja chat template, else the bundled ChatML; "
                "`chatml`: that one; or a file. Where ChatML's two control tokens are lacking they "
                "take ids that the tokenizer holds in reserve, else new ones, and a model that is "
                "read grows by their embedding rows."});
  v("train_on", c.train_on,
    {.meaning = "Which of the assistant's turns are trained; a row's own weights count besides.",
     .choices = {"all", "last"}});
  v("multi_turn", c.multi_turn,
    {.meaning = "`whole`: a conversation is one example. `split`: one example for each of the "
                "assistant's turns, which ends with it. `auto`: split where the chat template "
                "allows no sound mask of the whole, or leaves out part of an earlier answer.",
     .choices = {"auto", "whole", "split"}});
  v("end_of_turn_weight", c.end_of_turn_weight,
    {.meaning = "Loss weight of the token that ends a trained turn, times that of the turn.",
     .minimum = 0});
  v("max_rejected", c.max_rejected,
    {.meaning = "Largest share of examples that tokenising may reject.",
     .minimum = 0,
     .maximum = 1});
  v("verify", c.verify,
    {.meaning = "Of held-out examples: when an answer is right (evaluate.answers); as "
                "samples.verify, without `command`."});
  v("keep", c.keep,
    {.meaning = "Which training examples are taken, by stored scores; default: all."});
}

template <class V>
void describe(V& v, GateSection& c) {
  v("on", c.on, {.meaning = "Source whose held-out examples are watched. Give this or `command`."});
  v("command", c.command,
    {.meaning = "Program and arguments, which launch/rounds runs with the exported model's folder "
                "in RONDO_MODEL; the last line that it prints is a JSON object of figures."});
  v("figure", c.figure,
    {.meaning = "Of `on`: loss, accuracy (the share of trained tokens that are predicted right) or "
                "exact_match (evaluate.answers). Of `command`: the name of one of its figures, "
                "which `max` and `min` bound."});
  v("max", c.max, {.meaning = "The gate fails when the figure is above."});
  v("min", c.min, {.meaning = "The gate fails when the figure is below."});
  v("max_loss_increase", c.max_loss_increase,
    {.meaning = "The gate fails when the loss has risen by more than this; may be negative to "
                "ask for a fall.",
     .shown_default = "0 where no other bound is given"});
  v("max_decrease", c.max_decrease,
    {.meaning = "The gate fails when the figure has fallen by more than this; may be negative to "
                "ask for a rise."});
  v("relative_to", c.relative_to,
    {.meaning = "Risen or fallen against the base model, the round before, or the best so far.",
     .choices = {"base", "previous", "best"}});
  v("otherwise", c.otherwise,
    {.meaning =
         "When it fails: say so and go on, end the run here, go on on purpose (the ledger tells "
         "the two apart), set the round's result aside and go on from the round before, or try "
         "the round again as `retry` says and, after the last one, set it aside. Where several "
         "gates fail: the first of stop, retry, rollback, continue, report that one of them "
         "says.",
     .choices = {"report", "stop", "continue", "rollback", "retry"}});
}

template <class T>
void read_yaml(const base::YamlNode& node, Patch<T>& patch, const std::string& path,
               base::Problems& problems) {
  patch.node = node;
  base::ConfigReader::read(node, patch.value, path, base::Field{}, problems);
}
template <class V, class T>
void describe(V& v, Patch<T>& patch) {
  describe(v, patch.value);
}
template <class T>
void Patch<T>::resolve(const T& global) {
  value = global;
  if (node.kind != base::YamlNode::Kind::kMap) return;
  base::Problems reported_already;
  base::ConfigReader::read(node, value, "", base::Field{}, reported_already);
}

template <class V>
void describe(V& v, RetrySection& c) {
  v("data", c.data, {.meaning = "In place of the round's.", .minimum = 0, .above_minimum = true});
  v("shares", c.shares, {.meaning = "In place of the round's."});
  v("epochs", c.epochs,
    {.meaning = "In place of the round's.", .minimum = 0, .above_minimum = true});
  v("steps", c.steps, {.meaning = "In place of the round's.", .minimum = 1});
  v("tokens", c.tokens, {.meaning = "In place of the round's.", .minimum = 1});
  v("optimizer", c.optimizer, {.meaning = "Keys of `optimizer`, over the round's."});
  v("schedule", c.schedule, {.meaning = "Keys of `schedule`, over the round's."});
}

template <class V>
void describe(V& v, RoundSection& c) {
  v("name", c.name, {.meaning = "Name of the round, unique in the run.", .required = true});
  v("init", c.init,
    {.meaning = "Weights at the start: the base model's, those of the round before, of another "
                "round or of a checkpoint; an average; or the best of several. Members are names "
                "of rounds, `base`, or paths of checkpoints. `weights`: uniform, a list (divided "
                "by its sum), or greedy: beginning with the best by the held-out loss of the "
                "source `on`, each that does not worsen it. With `average` and `best` a round "
                "may have no data: then it only does that.",
     .shown_default = "previous (the first round: base)"});
  v("optimizer_state", c.optimizer_state,
    {.meaning = "`reset`: moments and schedule start anew. `carry`: both go on; rounds that carry "
                "share one schedule over all their steps, and where data and batch are the same "
                "too, one plan whose epochs go on. `carry_moments`: the moments go on, the "
                "schedule with its warm-up starts anew.",
     .choices = {"reset", "carry", "carry_moments"}});
  v("seed", c.seed,
    {.meaning = "Seed of the round's packing and of the order of its packs.",
     .minimum = 0,
     .shown_default = "from `run.seed` and the round's name"});
  v("data", c.data,
    {.meaning =
         "Passes per source and epoch: `{a: 2.0, b: 0.5}` is every example of a twice and "
         "a seeded half of b. `replay` stands for all sources of earlier rounds that are not "
         "named here.",
     .minimum = 0,
     .above_minimum = true});
  v("shares", c.shares,
    {.meaning =
         "In place of `data`: shares of the sources, as `{a: 0.5, b: auto, replay: 0.2}`. "
         "`tokens` is then the budget of the mix (default: every example about once), drawn "
         "by whole passes and a seeded part of one more; the round is an epoch of it. `auto`: "
         "by size. Without `auto` the shares are divided by their sum."});
  v("by", c.by,
    {.meaning = "Of `shares`: what they are shares of.",
     .choices = {"trainable", "tokens", "examples"}});
  v("temperature", c.temperature,
    {.meaning = "Of shares that are `auto`: in proportion to size^(1/temperature).",
     .minimum = 0,
     .above_minimum = true});
  v("epochs", c.epochs,
    {.meaning = "Length in epochs. Give one of `epochs`, `steps`, `tokens`; default one epoch.",
     .minimum = 0,
     .above_minimum = true});
  v("steps", c.steps, {.meaning = "Length in optimizer steps.", .minimum = 1});
  v("tokens", c.tokens,
    {.meaning =
         "Length in tokens of packs, rounded up to whole steps; with `shares`: tokens of the "
         "documents that are drawn.",
     .minimum = 1});
  v("batch", c.batch, {.meaning = "Keys of `batch` for this round, over the global ones."});
  v("optimizer", c.optimizer, {.meaning = "Keys of `optimizer` for this round."});
  v("schedule", c.schedule, {.meaning = "Keys of `schedule` for this round."});
  v("evaluate", c.evaluate, {.meaning = "Keys of `evaluate` for this round."});
  v("gate", c.gate,
    {.meaning = "What must hold of the held-out sets after the round; one, or a list."});
  v("retry", c.retry,
    {.meaning = "What the round is tried again with when a gate with `otherwise: retry` fails: "
                "one entry for each attempt."});
}

template <class V>
void describe(V& v, ExportSection& c) {
  v("rounds", c.rounds,
    {.meaning = "Write a Hugging Face folder after each round, to `rounds/NAME/model`."});
  v("dtype", c.dtype,
    {.meaning = "Type of the weights in it.", .choices = {"fp32", "bf16", "fp16"}});
}

template <class V>
void describe(V& v, Config& c) {
  v("run", c.run, {.meaning = "The run as a whole.", .required = true});
  v("model", c.model, {.meaning = "The base model.", .required = true});
  v("tokenizer", c.tokenizer, {.meaning = "Folder of the tokenizer; default: the model's folder."});
  v("device", c.device,
    {.meaning = "What to train on: a GPU for each rank, or CPUs. `auto`: GPUs where this rondo was "
                "built for them and every rank finds one.",
     .choices = {"auto", "cpu", "cuda"}});
  v("precision", c.precision,
    {.meaning = "Type of weights and activations; master weights, gradients, statistics and losses "
                "are float32 in any case. `auto`: bf16 on GPUs, fp32 on CPUs, where bf16 is slow.",
     .choices = {"auto", "fp32", "bf16"}});
  v("moments", c.moments,
    {.meaning = "Type of Adam's two moments. bf16 halves them, for models that would not fit; they "
                "are rounded stochastically, so that small changes are not lost.",
     .choices = {"fp32", "bf16"}});
  v("parallel", c.parallel, {.meaning = "How the ranks divide the work."});
  v("recompute", c.recompute,
    {.meaning =
         "What a block's forward does not keep, but its backward computes again: nothing; the "
         "outputs of the norms; also queries, keys, values and the output of attention; all "
         "but the block's input. `share`: of how many of the blocks. Less memory, more time, "
         "the same numbers to the bit."});
  v("batch", c.batch, {.meaning = "The global batch."});
  v("pack", c.pack, {.meaning = "How examples become packs."});
  v("clean", c.clean, {.meaning = "What is left out of the rounds' examples for its content."});
  v("loss", c.loss, {.meaning = "The loss."});
  v("optimizer", c.optimizer, {.meaning = "AdamW."});
  v("schedule", c.schedule, {.meaning = "The learning rate over a round."});
  v("non_finite", c.non_finite, {.meaning = "NaN and infinity."});
  v("spike", c.spike, {.meaning = "Losses and gradients that jump."});
  v("checkpoint", c.checkpoint, {.meaning = "Saving and resuming."});
  v("watchdog", c.watchdog, {.meaning = "When a run that makes no progress is ended."});
  v("evaluate", c.evaluate, {.meaning = "Held-out losses."});
  v("export", c.exports, {.meaning = "Hugging Face folders."});
  v("sources", c.sources, {.meaning = "Named sets of examples.", .required = true});
  v("rounds", c.rounds, {.meaning = "The rounds, in order.", .required = true});
}

}  // namespace rondo::train
