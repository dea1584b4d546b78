#include "app/prompts.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace rondo::app {

PromptFigures look_at_prompts(const data::TokenizedFile& file, int64_t max_examples,
                              const model::Shape& shape) {
  PromptFigures figures;
  figures.count = max_examples > 0 ? std::min(max_examples, file.examples()) : file.examples();
  if (figures.count == 0) base::fail_user("{}: it holds no example.", file.path());
  for (int64_t i = 0; i < figures.count; ++i) {
    const int64_t length = file.prompt_length(i);
    if (length < 1) {
      base::fail_user("{}: prompt_length[{}] = 0. A prompt has at least one token: tokenise again.",
                      file.path(), i);
    }
    figures.longest = std::max(figures.longest, length);
    figures.too_long += length >= shape.max_seq ? 1 : 0;
  }
  return figures;
}

std::vector<generate::Prompt> read_prompts(const data::TokenizedFile& file, base::Slice range) {
  std::vector<generate::Prompt> prompts;
  for (int64_t i = range.begin; i < range.end; ++i) {
    generate::Prompt& prompt = prompts.emplace_back();
    prompt.index = static_cast<uint64_t>(i);
    prompt.tokens.resize(static_cast<size_t>(file.prompt_length(i)));
    file.read_tokens(i, prompt.tokens);
  }
  return prompts;
}

}  // namespace rondo::app
