// What people bring from TRL, Axolotl, Megatron and the Hugging Face Trainer leads to rondo's key.
#include "base/foreign_keys.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::base {
namespace {

using testing::StartsWith;

TEST(ForeignKeys, LeadToTheKeyThatDoesTheSame) {
  const struct {
    const char *theirs, *ours;
  } names[] = {
      {"micro-batch-size", "batch.micro_packs"},
      {"global-batch-size", "batch.packs"},
      {"seq-length", "batch.seq_len"},
      {"max_seq_len", "batch.seq_len"},
      {"train-iters", "rounds[].steps"},
      {"clip-grad", "optimizer.clip"},
      {"gradient_clipping", "optimizer.clip"},
      {"max_grad_norm", "optimizer.clip"},
      {"learning_rate", "optimizer.lr"},
      {"adam_eps", "optimizer.eps"},
      {"adam_epsilon", "optimizer.eps"},
      {"adam_beta1", "the first number of optimizer.betas"},
      {"adam_beta2", "the second number of optimizer.betas"},
      {"lr-decay-style", "schedule.kind"},
      {"lr_scheduler_type", "schedule.kind"},
      {"lr_scheduler", "schedule.kind"},
      {"warmup_ratio", "schedule.warmup (below 1: a share"},
      {"warmup_steps", "schedule.warmup (from 1 on: a number"},
      {"lr_warmup_iters", "schedule.warmup (from 1 on: a number"},
      {"min_lr", "schedule.final (a share of optimizer.lr)"},
      {"save-interval", "checkpoint.every"},
      {"save_steps", "checkpoint.every"},
      {"save_total_limit", "checkpoint.keep"},
      {"eval_steps", "evaluate.every"},
      {"eval_strategy", "evaluate.every"},
      {"logging_steps", "run.print_every"},
      {"output_dir", "run.dir and run.name"},
      {"tensor-model-parallel-size", "parallel.tensor"},
      {"num_train_epochs", "rounds[].epochs"},
      {"num_epochs", "rounds[].epochs"},
      {"max_steps", "rounds[].steps, or run.max_steps"},
      {"base_model", "model.from"},
      {"model_name_or_path", "model.from"},
      {"dataset", "sources.NAME.train"},
      {"datasets", "sources, "},
      {"val_set_size", "sources.NAME.heldout"},
      {"chat_template", "sources.NAME.template"},
      {"bf16", "precision"},
      {"fp16", "precision"},
      {"model.hidden_size", "model.shape.hidden."},
      {"model.shape.num_hidden_layers", "model.shape.layers."},
      {"num-layers", "model.shape.layers."},
      {"num_attention_heads", "model.shape.heads."},
      {"num_key_value_heads", "model.shape.kv_heads."},
      {"intermediate_size", "model.shape.ffn."},
      {"ffn_hidden_size", "model.shape.ffn."},
      {"vocab_size", "model.shape.vocab."},
      {"max_position_embeddings", "model.shape.max_seq."},
      {"tie_word_embeddings", "model.shape.tied."},
      {"sources.a.path", "sources.NAME.train"},
      {"sources.a.type", "sources.NAME.format."},
  };
  for (const auto& [theirs, ours] : names) {
    EXPECT_THAT(hint_for_foreign_key(theirs), StartsWith(std::string("In rondo this is ") + ours))
        << theirs;
  }
}

TEST(ForeignKeys, WithoutCounterpartSayWhatRondoDoesInstead) {
  const struct {
    const char *theirs, *instead;
  } names[] = {
      {"gradient_accumulation_steps",
       "accumulation follows from batch.packs / (ranks * batch.micro_packs)."},
      {"packing", "examples are always packed, without attention across documents."},
      {"sample_packing", "examples are always packed, without attention across documents."},
      {"train_on_inputs", "only the assistant's turns and completions are trained on."},
      {"assistant_only_loss", "only the assistant's turns and completions are trained on."},
      {"completion_only_loss", "only the assistant's turns and completions are trained on."},
      {"optim", "the optimizer is always AdamW, set by the keys of optimizer."},
      {"deepspeed", "the optimizer state is always sharded over the ranks (parallel.shard)."},
      {"fsdp", "the optimizer state is always sharded over the ranks (parallel.shard)."},
      {"gradient_checkpointing",
       "all activations are kept; a smaller batch.micro_packs needs less memory."},
  };
  for (const auto& [theirs, instead] : names) {
    EXPECT_EQ(hint_for_foreign_key(theirs),
              std::string("In rondo there is no such key: ") + instead);
  }
}

TEST(ForeignKeys, OthersAreUnknown) {
  for (const char* key : {"", "pakcs", "path", "run.type", "sources.a.lr", "seed"}) {
    EXPECT_EQ(hint_for_foreign_key(key), "") << key;
  }
}

}  // namespace
}  // namespace rondo::base
