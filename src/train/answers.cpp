#include "train/answers.hpp"

#include "base/error.hpp"
#include "base/json.hpp"
#include "train/questions.hpp"
#include "train/verifier.hpp"

namespace rondo::train {

std::vector<generate::Completion> complete(const RunParts& parts, const generate::Options& options,
                                           int64_t count, const generate::ReadPrompts& read) {
  const parallel::StateSettings& state = parts.model.settings().state;
  const bool whole = parts.mesh.tensor().size() == 1 && !state.transient_weights();
  if (!whole || !state.device.is_cpu() || state.compute != at::kFloat) {
    base::fail_user(
        "{}: completions are made on CPUs in fp32, with parallel.tensor: 1 and zero below 3. Take "
        "`samples` and evaluate.answers out, or choose such a layout.",
        parts.config.place);
  }
  const generate::Generator generator(parts.model, options);
  return generate::complete_over_ranks(generator, count, read, parts.control);
}

std::optional<double> share_answered_right(const RunParts& parts, const HeldoutData& heldout,
                                           const RunState& state) {
  const Config& config = parts.config;
  std::optional<Questions> questions;
  parts.control.agree([&] {
    questions.emplace(heldout.request, config.evaluate.answers,
                      static_cast<uint64_t>(config.run.seed), state.end_of_turn);
  });
  parts.watchdog.enter("answers", state.step, base::Budget::kNone);
  if (parts.stop_wanted()) return {};
  generate::Options options;
  options.max_new_tokens = config.evaluate.max_new_tokens;
  options.stop_ids = questions->stop_ids();
  const auto completions = complete(parts, options, questions->count(), [&](base::Slice range) {
    std::vector<generate::Prompt> prompts;
    for (int64_t i = range.begin; i < range.end; ++i) {
      prompts.push_back({static_cast<uint64_t>(i), questions->prompt(i)});
    }
    return prompts;
  });
  int64_t right = 0;
  parts.control.on_first([&] {
    const auto text = data::TokenText::of_folder(config.tokenizer_folder());
    const Verifier verifier(config.source(heldout.source).verify);
    for (int64_t i = 0; i < questions->count(); ++i) {
      const generate::Completion& completion = completions[static_cast<size_t>(i)];
      if (!completion.finished) continue;
      if (verifier.right(text_of(completion.tokens, text), text_of(questions->answer(i), text))) {
        ++right;
      }
    }
  });
  right = std::stoll(parts.control.broadcast_text(std::to_string(right)));
  return static_cast<double>(right) / static_cast<double>(questions->count());
}

}  // namespace rondo::train
