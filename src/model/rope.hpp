// Rotary frequencies (Su et al. 2021) and their scalings, as Hugging Face transformers computes
// them (modeling_rope_utils.py), in float32 where it does.
//
//   plain   inv_freq[i] = theta^(-2i/c), i in [0, c/2)
//   linear  inv_freq / factor
//   llama3  wavelengths above original/low_freq_factor are divided by factor, those below
//           original/high_freq_factor are kept, those between are interpolated
//   yarn    (Peng et al. 2023) a ramp between inv_freq and inv_freq / factor over the dimensions
//           that turn beta_slow to beta_fast times in the original context; cos and sin are
//           multiplied by attention_factor
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/shape.hpp"

namespace rondo::model {

// float32 [c/2], and the factor on cos and sin.
std::vector<float> rope_frequencies(const Shape& shape);
double rope_attention_factor(const Shape& shape);

struct RopeTable {
  at::Tensor cos, sin;  // float32 [positions, c/2]
  int64_t positions() const { return cos.defined() ? cos.size(0) : 0; }
  static RopeTable make(const Shape& shape, int64_t positions);
  RopeTable on(at::Device device) const { return {cos.to(device), sin.to(device)}; }
};

}  // namespace rondo::model
