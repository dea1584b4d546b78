// Random small models, and completions made without a cache.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "generate/generator.hpp"
#include "model/model.hpp"

namespace rondo::test {

struct TinyModel {
  explicit TinyModel(const model::Shape& shape, uint64_t seed = 1)
      : group(comm::make_self_group()), model(shape, *group, false) {
    model.initialise(seed);
    // Norms and biases begin as constants; here they must matter.
    for (size_t i = 0; i < model.unit_count(); ++i) {
      const auto& parameters = model.unit(i).parameters();
      for (size_t p = 0; p < parameters.size(); ++p) {
        if (parameters[p].shape.size() > 1) continue;
        at::Tensor weight = model.unit(i).weight(p);
        at::Tensor noise = at::empty_like(weight);
        base::Random(seed, parameters[p].name)
            .normal(0, noise.mutable_data_ptr<float>(), noise.numel());
        weight.add_(noise, 0.3);
      }
    }
  }
  std::unique_ptr<comm::Group> group;
  model::Model model;
};

// Weights so large that every token matters to the next one.
inline model::Shape tiny_shape(int64_t heads = 4, int64_t kv_heads = 2) {
  model::Shape shape;
  shape.layers = 2;
  shape.heads = heads;
  shape.kv_heads = kv_heads;
  shape.head_width = 12;
  shape.hidden = heads * 8;
  shape.ffn = 40;
  shape.vocab = 61;
  shape.max_seq = 64;
  shape.initializer_std = 0.3;
  return shape;
}

inline std::vector<model::Shape> all_kinds_of_shapes() {
  std::vector<model::Shape> shapes = {tiny_shape(4, 2), tiny_shape(4, 4), tiny_shape(4, 1)};
  shapes[0].tied = true;
  shapes.push_back(tiny_shape());
  shapes.back().qkv_bias = true;
  shapes.push_back(tiny_shape());
  shapes.back().qk_norm = true;
  shapes.push_back(tiny_shape());
  shapes.back().layers = 1;
  shapes.back().rope_scaling = {
      .kind = model::RopeScaling::Kind::kLlama3, .factor = 4, .original_max_position = 16};
  return shapes;
}

// `count` prompts of 1 to `longest` tokens.
inline std::vector<generate::Prompt> random_prompts(int64_t count, int64_t longest, int64_t vocab,
                                                    uint64_t seed = 5) {
  const base::Random random(seed, "prompts");
  std::vector<generate::Prompt> prompts;
  uint64_t used = 0;
  for (int64_t i = 0; i < count; ++i) {
    generate::Prompt& prompt = prompts.emplace_back();
    prompt.index = static_cast<uint64_t>(i);
    const uint64_t length = 1 + random.below(static_cast<uint64_t>(longest), used++);
    for (uint64_t token = 0; token < length; ++token) {
      prompt.tokens.push_back(
          static_cast<int32_t>(random.below(static_cast<uint64_t>(vocab), used++)));
    }
  }
  return prompts;
}

// Logits for what follows `tokens`, by the model's own forward over all of them.
inline at::Tensor next_logits(model::Model& model, const std::vector<int32_t>& tokens) {
  const auto count = static_cast<int64_t>(tokens.size());
  const at::Tensor input = at::tensor(tokens, at::kInt);
  const auto layout = kernels::PackedLayout::make(count, {{0, count}});
  return model.logits(input, layout, at::tensor({count - 1}, at::kLong)).squeeze(0);
}

// Greedy completion by a full forward for each token.
inline generate::Completion complete_without_cache(model::Model& model,
                                                   const generate::Options& options,
                                                   const generate::Prompt& prompt) {
  generate::Completion completion;
  std::vector<int32_t> tokens = prompt.tokens;
  while (std::ssize(completion.tokens) < options.max_new_tokens &&
         std::ssize(tokens) < model.shape().max_seq) {
    const auto next = static_cast<int32_t>(next_logits(model, tokens).argmax().item<int64_t>());
    if (std::ranges::find(options.stop_ids, next) != options.stop_ids.end()) {
      completion.finished = true;
      break;
    }
    completion.tokens.push_back(next);
    tokens.push_back(next);
  }
  return completion;
}

}  // namespace rondo::test
