#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "app/inspect.hpp"
#include "app/show_account.hpp"
#include "app/show_example.hpp"
#include "app/show_scores.hpp"
#include "base/error.hpp"
#include "base/units.hpp"
#include "data/generated.hpp"
#include "data/packed_set.hpp"
#include "data/scores_file.hpp"
#include "data/tokenized.hpp"

namespace rondo::app {
namespace {

// Wide enough for any tokenizer: a packed set does not say how many ids the model has.
constexpr int64_t kAnyVocabulary = std::numeric_limits<int32_t>::max();

void check_range(const std::string& path, const char* what, int64_t asked, int64_t count) {
  if (asked < 0 || asked >= count) {
    base::fail_user("{}: there is no {} {}; it has {} (counted from 0).", path, what, asked, count);
  }
}

// Smallest, median and largest.
std::string spread(std::vector<int64_t> values) {
  if (values.empty()) return "none";
  std::ranges::sort(values);
  return fmt::format("{} / {} / {}", values.front(), values[values.size() / 2], values.back());
}

std::optional<data::TokenText> text_of(const InspectRequest& request) {
  if (request.tokenizer.empty()) return std::nullopt;
  return data::TokenText::of_folder(request.tokenizer);
}

// "data/a.jsonl:17": where an example comes from; "" when the file does not say.
std::string origin_of(const data::TokenizedFile& file, int64_t example) {
  const data::Origin origin = file.origins()[static_cast<size_t>(example)];
  const std::vector<std::string> paths = data::paths_of(file.info().source_files);
  if (origin.file >= paths.size()) return {};
  return fmt::format(" from {}:{}", paths[origin.file], origin.row);
}

}  // namespace

void inspect_tokenized(const InspectRequest& request, base::Console& console) {
  const int64_t vocab = data::read_tokenized_info(request.path).vocab_size;
  const auto file = data::TokenizedFile::open(request.path, vocab);
  const data::TokenizedInfo& info = file.info();
  std::vector<int64_t> lengths, prompts;
  for (int64_t i = 0; i < file.examples(); ++i) {
    lengths.push_back(file.length(i));
    prompts.push_back(file.prompt_length(i));
  }
  console.line("{}: tokenised file ({} version {})", request.path, data::kTokenizedFormat,
               data::kTokenizedVersion);
  console.line("  {} examples, {} tokens, {}", file.examples(), file.tokens(),
               base::format_bytes(info.file_bytes));
  console.line("  tokens of an example (least / median / most): {}", spread(lengths));
  console.line("  tokens of a prompt   (least / median / most): {}", spread(prompts));
  console.line("  tokenizer {} with {} ids, end of turn {}, chat template {}", info.tokenizer_hash,
               info.vocab_size, info.end_of_turn_id, info.template_hash);
  console.line("  made from {}", info.source_files);
  console.line("  counts {}", info.counts);
  if (request.verify) {
    int64_t trained = 0;
    for (int64_t i = 0; i < file.examples(); ++i) {
      const auto length = static_cast<size_t>(file.length(i));
      std::vector<int32_t> tokens(length);
      std::vector<uint8_t> codes(length);
      file.read_tokens(i, tokens);
      file.read_codes(i, codes);
      trained += std::ranges::count_if(codes, [](uint8_t code) { return code != 0; });
    }
    console.line("  verified: every token and weight code is in range; {} trained tokens", trained);
  }
  if (!request.example) return;
  check_range(request.path, "example", *request.example, file.examples());
  const auto length = static_cast<size_t>(file.length(*request.example));
  std::vector<int32_t> tokens(length);
  std::vector<uint8_t> codes(length);
  std::vector<float> weights;
  file.read_tokens(*request.example, tokens);
  file.read_codes(*request.example, codes);
  for (const uint8_t code : codes) weights.push_back(file.weight_table()[code]);
  console.line("example {}{}: {} tokens, of which {} are the prompt", *request.example,
               origin_of(file, *request.example), length, file.prompt_length(*request.example));
  show_example(tokens, weights, text_of(request), console);
}

void inspect_packed(const InspectRequest& request, base::Console& console) {
  const auto set = data::PackedSet::open(request.path, kAnyVocabulary);
  console.line("{}: packed set", request.path);
  console.line("  {} packs of {} tokens, {} documents, weight {}", set.packs(), set.seq_len(),
               set.documents(), set.weight());
  console.line("  plan {}, tokenizer {}", set.plan_hash(), set.tokenizer_hash());
  show_account(set.account(), console);
  if (request.verify) {
    for (int64_t pack = 0; pack < set.packs(); ++pack) set.read({&pack, 1});
    console.line("  verified: every pack agrees with its checksum");
  }
  if (!request.example) return;
  const int64_t pack = *request.example;
  check_range(request.path, "pack", pack, set.packs());
  const data::PackedBatch batch = set.read({&pack, 1});
  // The weight of a row is that of predicting the token after it.
  std::vector<float> weights(static_cast<size_t>(set.seq_len()), 0);
  for (int64_t i = 0; i < batch.rows.numel(); ++i) {
    weights[static_cast<size_t>(batch.rows.const_data_ptr<int64_t>()[i]) + 1] =
        batch.weights.const_data_ptr<float>()[i];
  }
  console.line("pack {}: {} documents, {} tokens", pack, batch.layout.documents.size(),
               batch.real_tokens);
  const std::optional<data::TokenText> text = text_of(request);
  const auto* row = batch.tokens.const_data_ptr<int32_t>();
  for (size_t i = 0; i < batch.layout.documents.size(); ++i) {
    const base::Slice document = batch.layout.documents[i];
    console.line("document {} [{}, {}), example {:016x}", i, document.begin, document.end,
                 batch.example_ids[i]);
    const auto begin = static_cast<size_t>(document.begin);
    const auto size = static_cast<size_t>(document.size());
    show_example({row + begin, size}, std::span(weights).subspan(begin, size), text, console);
  }
}

void inspect_generated(const InspectRequest& request, base::Console& console) {
  const data::Generated generated = data::read_generated(request.path);
  std::vector<int64_t> lengths(static_cast<size_t>(generated.count()));
  std::adjacent_difference(generated.offsets.begin() + 1, generated.offsets.end(), lengths.begin());
  const int64_t finished =
      std::accumulate(generated.finished.begin(), generated.finished.end(), int64_t{0});
  console.line("{}: generated completions ({} version {})", request.path, data::kGeneratedFormat,
               data::kGeneratedVersion);
  console.line("  {} completions, {} finished, {} cut by a limit, {} tokens", generated.count(),
               finished, generated.count() - finished, generated.tokens.size());
  console.line("  tokens of a completion (least / median / most): {}", spread(lengths));
  console.line("  model {}, prompts {}", generated.model, generated.prompts);
  console.line("  settings {}", generated.settings);
  if (!request.example) return;
  check_range(request.path, "completion", *request.example, generated.count());
  const auto i = static_cast<size_t>(*request.example);
  console.line("completion {} of example {:016x}, {}", i, generated.example_id[i],
               generated.finished[i] != 0 ? "finished" : "cut by a limit");
  console.line("  {}", fmt::join(generated.tokens.begin() + generated.offsets[i],
                                 generated.tokens.begin() + generated.offsets[i + 1], " "));
}

void inspect_scores(const InspectRequest& request, base::Console& console) {
  const data::ScoreColumns columns = data::read_scores(request.path);
  console.line("{}: scores of {} examples ({} version {})", request.path, columns.example_id.size(),
               data::kScoresFormat, data::kScoresVersion);
  show_scores(columns, console);
  for (const auto& [name, made] : columns.made.items()) console.line("  {} {}", name, made.dump());
}

}  // namespace rondo::app
