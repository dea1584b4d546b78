#include "train/answers.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/json.hpp"
#include "train/questions.hpp"
#include "train/verifier.hpp"

namespace rondo::train {

void check_completions(const Config& config, const model::Model& model) {
  bool wanted = config.evaluate.answers > 0;
  for (size_t i = 0; i < config.rounds.size(); ++i) wanted = wanted || !given_before(config, i);
  const parallel::StateSettings& state = model.settings().state;
  const bool whole = model.mesh().tensor().size() == 1 && !state.transient_weights();
  if (!wanted || (whole && state.device.is_cpu() && state.compute == at::kFloat)) return;
  base::fail_user(
      "{}: completions are made on CPUs in fp32, with parallel.tensor: 1 and zero below 3. Take "
      "`samples` and evaluate.answers out, or choose such a layout.",
      config.place);
}

std::vector<generate::Completion> complete(const RunParts& parts, const generate::Options& options,
                                           int64_t count, const generate::ReadPrompts& read) {
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
  generate::Options options;
  options.max_new_tokens = config.evaluate.max_new_tokens;
  options.stop_ids = questions->stop_ids();
  constexpr int64_t kAtATime = 256;  // between looks at whether to stop
  std::vector<generate::Completion> completions;
  for (int64_t first = 0; first < questions->count(); first += kAtATime) {
    parts.watchdog.enter("answers", state.step, base::Budget::kNone);
    if (parts.stop_wanted()) return {};
    const int64_t count = std::min(kAtATime, questions->count() - first);
    for (auto& completion : complete(parts, options, count, [&](base::Slice range) {
           std::vector<generate::Prompt> prompts;
           for (int64_t i = first + range.begin; i < first + range.end; ++i) {
             prompts.push_back({static_cast<uint64_t>(i), questions->prompt(i)});
           }
           return prompts;
         })) {
      completions.push_back(std::move(completion));
    }
  }
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
