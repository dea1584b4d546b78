#include "model/rope.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.hpp"

namespace rondo::model {
namespace {

using Kind = RopeScaling::Kind;

void scale_llama3(const RopeScaling& scaling, std::vector<float>& frequencies) {
  const double original = static_cast<double>(scaling.original_max_position);
  const auto factor = static_cast<float>(scaling.factor);
  const auto low_wavelength = static_cast<float>(original / scaling.low_freq_factor);
  const auto high_wavelength = static_cast<float>(original / scaling.high_freq_factor);
  for (float& frequency : frequencies) {
    const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
    if (wavelength > low_wavelength) {
      frequency /= factor;
    } else if (wavelength >= high_wavelength) {
      const float smooth = (static_cast<float>(original) / wavelength -
                            static_cast<float>(scaling.low_freq_factor)) /
                           static_cast<float>(scaling.high_freq_factor - scaling.low_freq_factor);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }
}

// The (fractional) dimension that turns `rotations` times within the original context.
double correction_dim(const Shape& shape, double rotations) {
  const double original = static_cast<double>(shape.rope_scaling.original_max_position);
  return static_cast<double>(shape.head_width) *
         std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(shape.rope_theta));
}

void scale_yarn(const Shape& shape, std::vector<float>& frequencies) {
  const RopeScaling& scaling = shape.rope_scaling;
  double low = correction_dim(shape, scaling.beta_fast);
  double high = correction_dim(shape, scaling.beta_slow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(shape.head_width - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    const float interpolated = frequencies[i] / static_cast<float>(scaling.factor);
    frequencies[i] = interpolated * ramp + frequencies[i] * (1 - ramp);
  }
}

}  // namespace

std::vector<float> rope_frequencies(const Shape& shape) {
  const auto width = static_cast<float>(shape.head_width);
  std::vector<float> frequencies;
  for (int64_t i = 0; i < shape.head_width; i += 2) {
    const float exponent = static_cast<float>(i) / width;
    frequencies.push_back(1.0f / std::pow(static_cast<float>(shape.rope_theta), exponent));
  }
  switch (shape.rope_scaling.kind) {
    case Kind::kNone:
      break;
    case Kind::kLinear:
      for (float& frequency : frequencies) {
        frequency /= static_cast<float>(shape.rope_scaling.factor);
      }
      break;
    case Kind::kLlama3:
      scale_llama3(shape.rope_scaling, frequencies);
      break;
    case Kind::kYarn:
      scale_yarn(shape, frequencies);
      break;
  }
  return frequencies;
}

double rope_attention_factor(const Shape& shape) {
  const RopeScaling& scaling = shape.rope_scaling;
  if (scaling.kind != Kind::kYarn) return 1;
  if (scaling.attention_factor != 0) return scaling.attention_factor;
  const auto magnitude = [&](double scale) {
    return scaling.factor <= 1 ? 1.0 : 0.1 * scale * std::log(scaling.factor) + 1.0;
  };
  if (scaling.mscale != 0 && scaling.mscale_all_dim != 0) {
    return magnitude(scaling.mscale) / magnitude(scaling.mscale_all_dim);
  }
  return magnitude(1);
}

RopeTable RopeTable::make(const Shape& shape, int64_t positions) {
  const std::vector<float> frequencies = rope_frequencies(shape);
  const auto factor = static_cast<float>(rope_attention_factor(shape));
  const int64_t half = shape.head_width / 2;
  RopeTable table;
  table.cos = at::empty({positions, half});
  table.sin = at::empty({positions, half});
  auto* cos = table.cos.mutable_data_ptr<float>();
  auto* sin = table.sin.mutable_data_ptr<float>();
  for (int64_t position = 0; position < positions; ++position) {
    for (int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(position) * frequencies[static_cast<size_t>(i)];
      *cos++ = std::cos(angle) * factor;
      *sin++ = std::sin(angle) * factor;
    }
  }
  return table;
}

}  // namespace rondo::model
