#include "base/foreign_keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace rondo::base {

namespace {

using Names = std::map<std::string, std::string>;

constexpr const char* kMicroPacks = "batch.micro_packs (packs per rank and micro-batch)";
constexpr const char* kPacks = "batch.packs (packs per step over all ranks)";
constexpr const char* kWarmupShare = "schedule.warmup (below 1: a share of the steps)";
constexpr const char* kWarmupSteps = "schedule.warmup (from 1 on: a number of steps)";
constexpr const char* kPrecision = "precision (fp32 or bf16)";
constexpr const char* kPaths = "sources.NAME.train (a path or a list of paths)";

// Theirs and ours; completes "In rondo this is ...".
const Names& same_keys() {
  static const Names names = {
      {"micro_batch_size", kMicroPacks},
      {"per_device_train_batch_size", kMicroPacks},
      {"batch_size", kPacks},
      {"global_batch_size", kPacks},
      {"train_batch_size", kPacks},
      {"cutoff_len", "batch.seq_len"},
      {"max_length", "batch.seq_len"},
      {"max_seq_len", "batch.seq_len"},
      {"max_seq_length", "batch.seq_len"},
      {"model_max_length", "batch.seq_len"},
      {"seq_length", "batch.seq_len"},
      {"sequence_len", "batch.seq_len"},
      {"learning_rate", "optimizer.lr"},
      {"adam_beta1", "the first number of optimizer.betas"},
      {"adam_beta2", "the second number of optimizer.betas"},
      {"adam_eps", "optimizer.eps"},
      {"adam_epsilon", "optimizer.eps"},
      {"clip_grad", "optimizer.clip"},
      {"gradient_clipping", "optimizer.clip"},
      {"max_grad_norm", "optimizer.clip"},
      {"lr_decay_style", "schedule.kind"},
      {"lr_scheduler", "schedule.kind"},
      {"lr_scheduler_type", "schedule.kind"},
      {"lr_warmup_fraction", kWarmupShare},
      {"warmup_ratio", kWarmupShare},
      {"lr_warmup_iters", kWarmupSteps},
      {"warmup_steps", kWarmupSteps},
      {"min_lr", "schedule.final (a share of optimizer.lr)"},
      {"num_epochs", "rounds[].epochs"},
      {"num_train_epochs", "rounds[].epochs"},
      {"max_steps", "rounds[].steps, or run.max_steps to end a run early"},
      {"train_iters", "rounds[].steps"},
      {"save_interval", "checkpoint.every"},
      {"save_steps", "checkpoint.every"},
      {"save_total_limit", "checkpoint.keep"},
      {"resume_from_checkpoint", "checkpoint.resume"},
      {"eval_interval", "evaluate.every"},
      {"eval_steps", "evaluate.every"},
      {"eval_strategy", "evaluate.every (a number of steps, epoch or never)"},
      {"evaluation_strategy", "evaluate.every (a number of steps, epoch or never)"},
      {"log_interval", "run.print_every"},
      {"logging_steps", "run.print_every"},
      {"output_dir", "run.dir and run.name"},
      {"base_model", "model.from"},
      {"model_name_or_path", "model.from"},
      {"tokenizer_name_or_path", "tokenizer"},
      {"dataset", kPaths},
      {"dataset_name", kPaths},
      {"datasets", "sources, which the data of a round names"},
      {"val_set_size", "sources.NAME.heldout, as {split: N} for N examples"},
      {"chat_template", "sources.NAME.template (a file)"},
      {"bf16", kPrecision},
      {"fp16", kPrecision},
      {"tensor_model_parallel_size", "parallel.tensor"},
      {"zero_stage", "parallel.zero"},
      {"hidden_size", "model.shape.hidden"},
      {"num_hidden_layers", "model.shape.layers"},
      {"num_layers", "model.shape.layers"},
      {"num_attention_heads", "model.shape.heads"},
      {"num_key_value_heads", "model.shape.kv_heads"},
      {"num_query_groups", "model.shape.kv_heads"},
      {"head_dim", "model.shape.head_width"},
      {"ffn_hidden_size", "model.shape.ffn"},
      {"intermediate_size", "model.shape.ffn"},
      {"vocab_size", "model.shape.vocab"},
      {"max_position_embeddings", "model.shape.max_seq"},
      {"tie_word_embeddings", "model.shape.tied"},
      {"rms_norm_eps", "model.shape.norm_eps"},
  };
  return names;
}

// Of a source (Axolotl's entries of `datasets`); too common to mean this elsewhere.
const Names& same_keys_of_a_source() {
  static const Names names = {
      {"path", kPaths},
      {"data_files", kPaths},
      {"type", "sources.NAME.format"},
  };
  return names;
}

constexpr const char* kPacked = "examples are always packed, without attention across documents";
constexpr const char* kMasked = "only the assistant's turns and completions are trained on";
constexpr const char* kSharded =
    "the optimizer state is always sharded over the ranks (parallel.shard)";

// Completes "In rondo there is no such key: ...".
const Names& keys_without_need() {
  static const Names names = {
      {"gradient_accumulation_steps",
       "accumulation follows from batch.packs / (ranks * batch.micro_packs)"},
      {"packing", kPacked},
      {"sample_packing", kPacked},
      {"assistant_only_loss", kMasked},
      {"completion_only_loss", kMasked},
      {"train_on_inputs", kMasked},
      {"optim", "the optimizer is always AdamW, set by the keys of optimizer"},
      {"deepspeed", kSharded},
      {"fsdp", kSharded},
      {"gradient_checkpointing",
       "all activations are kept; a smaller batch.micro_packs needs less memory"},
  };
  return names;
}

std::string found_in(const Names& names, const std::string& key) {
  const auto found = names.find(key);
  return found == names.end() ? "" : found->second;
}

}  // namespace

std::string hint_for_foreign_key(const std::string& path) {
  std::string key = path.substr(path.rfind('.') + 1);
  std::ranges::replace(key, '-', '_');
  std::string ours;
  if (path.starts_with("sources.")) ours = found_in(same_keys_of_a_source(), key);
  if (ours.empty()) ours = found_in(same_keys(), key);
  if (!ours.empty()) return fmt::format("In rondo this is {}.", ours);
  const std::string instead = found_in(keys_without_need(), key);
  return instead.empty() ? "" : fmt::format("In rondo there is no such key: {}.", instead);
}

}  // namespace rondo::base
