#include "generate/generator.hpp"

#include <algorithm>
#include <string>

#include "base/error.hpp"
#include "generate/decoder.hpp"

namespace rondo::generate {
namespace {

// One call of Generator::run.
class Batch {
 public:
  Batch(const model::Model& model, const Options& options, std::span<const Prompt> prompts,
        int64_t slots, int64_t max_length)
      : options_(options),
        prompts_(prompts),
        max_length_(max_length),
        decoder_(model, slots, max_length),
        sequences_(static_cast<size_t>(slots)),
        next_tokens_(static_cast<size_t>(slots), 0),
        completions_(prompts.size()) {}

  std::vector<Completion> run(const Progress& progress) {
    while (fill_slots()) {
      const at::Tensor& logits = decoder_.step(next_tokens_);
      const float* row = logits.const_data_ptr<float>();
      const auto vocab = static_cast<size_t>(logits.size(1));
      for (int64_t slot = 0; slot < decoder_.slots(); ++slot) {
        if (decoder_.length(slot) > 0) {
          take(slot, {row + static_cast<size_t>(slot) * vocab, vocab});
        }
      }
      if (progress) progress(ended_, tokens_);
    }
    return std::move(completions_);
  }

 private:
  struct Sequence {
    size_t prompt = 0;
    base::Random random{0, ""};
  };

  // Starts waiting prompts in free slots. True when a slot is taken.
  bool fill_slots() {
    bool taken = false;
    for (int64_t slot = 0; slot < decoder_.slots(); ++slot) {
      while (decoder_.length(slot) == 0 && waiting_ < prompts_.size()) start(slot, waiting_++);
      taken = taken || decoder_.length(slot) > 0;
    }
    return taken;
  }

  void start(int64_t slot, size_t prompt) {
    const Prompt& it = prompts_[prompt];
    RONDO_CHECK(!it.tokens.empty(), "prompt {} is empty", it.index);
    if (std::ssize(it.tokens) >= max_length_) {
      ++ended_;
      return;
    }
    sequences_[static_cast<size_t>(slot)] = {
        prompt, base::Random(options_.sampling.seed, "generate/" + std::to_string(it.index))};
    const at::Tensor logits = decoder_.start(slot, it.tokens);
    take(slot, {logits.const_data_ptr<float>(), static_cast<size_t>(logits.numel())});
  }

  // Chooses the next token of the slot's sequence, and releases the slot when that ends it.
  void take(int64_t slot, std::span<const float> logits) {
    const Sequence& sequence = sequences_[static_cast<size_t>(slot)];
    Completion& completion = completions_[sequence.prompt];
    const int32_t token =
        choose_token(logits, options_.sampling, sequence.random, completion.tokens.size());
    if (options_.with_log_probabilities) {
      completion.log_probability += log_probability(logits, token);
    }
    ++tokens_;
    completion.finished = std::ranges::find(options_.stop_ids, token) != options_.stop_ids.end();
    if (!completion.finished) completion.tokens.push_back(token);
    const bool full = std::ssize(completion.tokens) == options_.max_new_tokens ||
                      decoder_.length(slot) + 1 >= max_length_;
    if (completion.finished || full) {
      decoder_.release(slot);
      ++ended_;
    } else {
      next_tokens_[static_cast<size_t>(slot)] = token;
    }
  }

  const Options& options_;
  std::span<const Prompt> prompts_;
  int64_t max_length_;
  Decoder decoder_;
  std::vector<Sequence> sequences_;
  std::vector<int32_t> next_tokens_;
  std::vector<Completion> completions_;
  size_t waiting_ = 0;
  int64_t ended_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace

void Options::validate() const {
  sampling.validate();
  if (max_new_tokens < 1) {
    base::fail_user("max_new_tokens = {}. It must be at least 1.", max_new_tokens);
  }
  if (slots < 1) base::fail_user("slots = {}. It must be at least 1.", slots);
}

Generator::Generator(const model::Model& model, Options options)
    : model_(model), options_(std::move(options)) {
  options_.validate();
}

int64_t Generator::slot_tokens(int64_t longest_prompt) const {
  const int64_t room = model_.shape().max_seq;
  // In this order, so that a huge max_new_tokens does not overflow.
  return options_.max_new_tokens < room - longest_prompt ? longest_prompt + options_.max_new_tokens
                                                         : room;
}

int64_t Generator::cache_bytes(int64_t longest_prompt) const {
  return Cache::bytes(model_.shape(), options_.slots, slot_tokens(longest_prompt));
}

std::vector<Completion> Generator::run(std::span<const Prompt> prompts,
                                       const Progress& progress) const {
  int64_t longest = 0;
  for (const Prompt& prompt : prompts) longest = std::max(longest, std::ssize(prompt.tokens));
  if (prompts.empty()) return {};
  Batch batch(model_, options_, prompts, options_.slots, slot_tokens(longest));
  return batch.run(progress);
}

}  // namespace rondo::generate
