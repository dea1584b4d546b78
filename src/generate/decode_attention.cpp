#include "generate/decode_attention.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.hpp"
#include "kernels/buffers.hpp"
#include "kernels/simd.hpp"

namespace rondo::generate {
namespace {

using kernels::by_eights;
using kernels::Float8;

float dot(const float* a, const float* b, int64_t width) {
  Float8 sum = Float8::zero();
  by_eights(width, [&](int64_t i, auto lanes) {
    sum = fma(Float8::load(a + i, lanes), Float8::load(b + i, lanes), sum);
  });
  return sum_of_lanes(sum);
}

// scores[0, length) to their softmax.
void softmax(float* scores, int64_t length) {
  const float largest = *std::max_element(scores, scores + length);
  const Float8 shift = Float8::all(largest);
  by_eights(length, [&](int64_t i, auto lanes) {
    exp(Float8::load(scores + i, lanes) - shift).store(scores + i, lanes);
  });
  Float8 sum = Float8::zero();
  by_eights(length, [&](int64_t i, auto lanes) { sum = sum + Float8::load(scores + i, lanes); });
  const Float8 scale = Float8::all(1.0F / sum_of_lanes(sum));
  by_eights(length, [&](int64_t i, auto lanes) {
    (Float8::load(scores + i, lanes) * scale).store(scores + i, lanes);
  });
}

// One query head against the `length` rows of its key/value head; `scores` is scratch.
void attend(const float* query, const float* keys, const float* values, int64_t length,
            int64_t width, float* scores, float* out) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  for (int64_t position = 0; position < length; ++position) {
    scores[position] = dot(query, keys + position * width, width) * scale;
  }
  softmax(scores, length);
  std::fill(out, out + width, 0.0F);
  for (int64_t position = 0; position < length; ++position) {
    const Float8 weight = Float8::all(scores[position]);
    const float* value = values + position * width;
    by_eights(width, [&](int64_t i, auto lanes) {
      fma(weight, Float8::load(value + i, lanes), Float8::load(out + i, lanes))
          .store(out + i, lanes);
    });
  }
}

}  // namespace

void decode_attention(const at::Tensor& qkv, const kernels::AttentionShape& shape,
                      const at::Tensor& keys, const at::Tensor& values,
                      std::span<const int64_t> lengths, at::Tensor& out) {
  const auto [h, k, c] = shape;
  const auto sequences = static_cast<int64_t>(lengths.size());
  const int64_t max_length = keys.size(2);
  RONDO_CHECK(qkv.size(0) >= sequences && qkv.size(1) == (h + 2 * k) * c);
  RONDO_CHECK(out.size(0) == qkv.size(0) && out.size(1) == h * c);
  RONDO_CHECK(keys.size(0) == sequences && keys.size(1) == k && keys.size(3) == c);
  RONDO_CHECK(values.sizes() == keys.sizes());
  for (const int64_t length : lengths) RONDO_CHECK(length >= 0 && length <= max_length);

  const auto* queries = kernels::input<float>(qkv);
  const auto* key_cache = kernels::input<float>(keys);
  const auto* value_cache = kernels::input<float>(values);
  float* result = kernels::output(out);
  const int64_t group = h / k;
  std::fill(result, result + out.numel(), 0.0F);
  at::parallel_for(0, sequences * k, 1, [&, h = h, k = k, c = c](int64_t begin, int64_t end) {
    std::vector<float> scores(static_cast<size_t>(max_length));
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sequence = task / k;
      const int64_t length = lengths[static_cast<size_t>(sequence)];
      if (length == 0) continue;
      const int64_t first_head = task % k * group;
      const int64_t cached = task * max_length * c;
      for (int64_t head = first_head; head < first_head + group; ++head) {
        attend(queries + sequence * (h + 2 * k) * c + head * c, key_cache + cached,
               value_cache + cached, length, c, scores.data(), result + (sequence * h + head) * c);
      }
    }
  });
}

}  // namespace rondo::generate
