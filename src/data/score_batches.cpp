#include "data/score_batches.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "data/pack_inputs.hpp"
#include "data/pack_plan.hpp"

namespace rondo::data {
namespace {

// Tokens of an example that a part leaves out at its begin.
int64_t begin_of(const ScoreInput& input, const ScorePart& part) {
  return part.alone ? input.prompt_lengths[static_cast<size_t>(part.example)] : 0;
}

int64_t length_of(const ScoreInput& input, const ScorePart& part) {
  return input.lengths[static_cast<size_t>(part.example)] - begin_of(input, part);
}

// The batches of a plan, those with most pairs of query and key first.
std::vector<int64_t> by_work(const PackPlan& plan, const std::vector<int32_t>& lengths) {
  std::vector<int64_t> pairs;
  for (size_t b = 0; b + 1 < plan.pack_offsets.size(); ++b) {
    int64_t sum = 0;
    for (int64_t d = plan.pack_offsets[b]; d < plan.pack_offsets[b + 1]; ++d) {
      const int64_t length = lengths[static_cast<size_t>(plan.documents[static_cast<size_t>(d)])];
      sum += length * (length + 1) / 2;
    }
    pairs.push_back(sum);
  }
  std::vector<int64_t> order(pairs.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater{},
                           [&](int64_t b) { return pairs[static_cast<size_t>(b)]; });
  return order;
}

}  // namespace

ScoreInput score_input(const PackInputs& inputs) {
  ScoreInput input;
  for (int64_t i = 0; i < inputs.examples(); ++i) {
    input.lengths.push_back(static_cast<int32_t>(inputs.length(i)));
    input.prompt_lengths.push_back(static_cast<int32_t>(inputs.prompt_length(i)));
  }
  input.read = [&inputs](int64_t example, std::span<int32_t> tokens, std::span<float> weights) {
    std::vector<uint8_t> codes(tokens.size());
    inputs.read(example, tokens, codes);
    std::ranges::transform(codes, weights.begin(),
                           [&](uint8_t code) { return inputs.weight_table()[code]; });
  };
  return input;
}

ScoreBatches::ScoreBatches(ScoreInput input, const ScoreBatchSettings& settings)
    : input_(std::move(input)) {
  std::vector<ScorePart> parts;
  std::vector<int32_t> lengths;
  for (int64_t i = 0; i < std::ssize(input_.lengths); ++i) {
    if (input_.lengths[static_cast<size_t>(i)] > settings.most_tokens) {
      ++too_long_;
      continue;
    }
    for (const bool alone : {false, true}) {
      const ScorePart part{i, alone};
      const int64_t length = length_of(input_, part);
      if ((alone && !settings.alone) || length < 2) continue;  // one token predicts none
      parts.push_back(part);
      lengths.push_back(static_cast<int32_t>(length));
      tokens_ += length;
    }
  }
  rows_ = settings.tokens_per_batch;
  if (!lengths.empty()) rows_ = std::max<int64_t>(rows_, *std::ranges::max_element(lengths));
  const PackPlan plan = plan_packs(lengths, {.capacity = rows_}, 0);
  first_part_.push_back(0);
  for (const int64_t b : by_work(plan, lengths)) {
    const auto batch = static_cast<size_t>(b);
    for (int64_t d = plan.pack_offsets[batch]; d < plan.pack_offsets[batch + 1]; ++d) {
      parts_.push_back(parts[static_cast<size_t>(plan.documents[static_cast<size_t>(d)])]);
    }
    first_part_.push_back(std::ssize(parts_));
  }
}

std::span<const ScorePart> ScoreBatches::parts(int64_t batch) const {
  if (batch >= size()) return {};
  const auto begin = static_cast<size_t>(first_part_[static_cast<size_t>(batch)]);
  const auto end = static_cast<size_t>(first_part_[static_cast<size_t>(batch) + 1]);
  return std::span(parts_).subspan(begin, end - begin);
}

int64_t ScoreBatches::tokens_of(int64_t batch) const {
  int64_t sum = 0;
  for (const ScorePart& part : parts(batch)) sum += length_of(input_, part);
  return sum;
}

PackedBatch ScoreBatches::read(int64_t batch) const {
  PackedBatch result = PackedBatch::empty(1, rows_);
  auto* tokens = result.tokens.mutable_data_ptr<int32_t>();
  std::vector<base::Slice> documents;
  std::vector<int64_t> rows;
  std::vector<int64_t> labels;
  std::vector<int64_t> examples;
  std::vector<float> weights;
  std::vector<int32_t> of_example;
  std::vector<float> next_weights;
  int64_t row = 0;
  for (const ScorePart& part : parts(batch)) {
    const auto whole = static_cast<size_t>(input_.lengths[static_cast<size_t>(part.example)]);
    of_example.resize(whole);
    next_weights.resize(whole);
    input_.read(part.example, of_example, next_weights);
    const auto begin = static_cast<size_t>(begin_of(input_, part));
    for (size_t t = begin; t < whole; ++t) {
      const auto at = row + static_cast<int64_t>(t - begin);
      tokens[at] = of_example[t];
      if (t + 1 == whole || !(next_weights[t] > 0)) continue;
      rows.push_back(at);
      labels.push_back(of_example[t + 1]);
      weights.push_back(next_weights[t]);
      examples.push_back(std::ssize(documents));
      result.weight += static_cast<double>(next_weights[t]);
    }
    const int64_t end = row + static_cast<int64_t>(whole - begin);
    documents.push_back({row, end});
    row = end;
  }
  result.real_tokens = row;
  result.trainable_tokens = std::ssize(rows);
  result.rows = at::tensor(rows, at::kLong);
  result.labels = at::tensor(labels, at::kLong);
  result.weights = at::tensor(weights, at::kFloat);
  result.sources = at::zeros({std::ssize(rows)}, at::kLong);
  result.examples = at::tensor(examples, at::kLong);
  result.layout = kernels::PackedLayout::make(rows_, std::move(documents));
  return result;
}

}  // namespace rondo::data
