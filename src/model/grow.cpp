#include "model/grow.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace rondo::model {

bool has_row_per_id(const std::string& parameter) {
  return parameter == "model.embed_tokens.weight" || parameter == "lm_head.weight";
}

std::vector<float> mean_row(int64_t old_rows, int64_t width,
                            const std::function<void(base::Slice, float*)>& read) {
  RONDO_CHECK(old_rows >= 1 && width >= 1);
  const int64_t rows_at_once = std::max<int64_t>(1, (int64_t{1} << 18) / width);
  std::vector<float> rows(static_cast<size_t>(rows_at_once * width));
  std::vector<double> sum(static_cast<size_t>(width), 0.0);
  for (int64_t begin = 0; begin < old_rows; begin += rows_at_once) {
    const int64_t count = std::min(rows_at_once, old_rows - begin);
    read({begin * width, (begin + count) * width}, rows.data());
    for (int64_t i = 0; i < count * width; ++i) {
      sum[static_cast<size_t>(i % width)] += static_cast<double>(rows[static_cast<size_t>(i)]);
    }
  }
  std::vector<float> mean(static_cast<size_t>(width));
  std::ranges::transform(sum, mean.begin(), [&](double total) {
    return static_cast<float>(total / static_cast<double>(old_rows));
  });
  return mean;
}

void fill_new_rows(const std::vector<float>& mean, int64_t old_rows, base::Slice global,
                   float* out) {
  const auto width = static_cast<int64_t>(mean.size());
  for (int64_t i = std::max(global.begin, old_rows * width); i < global.end; ++i) {
    out[i - global.begin] = mean[static_cast<size_t>(i % width)];
  }
}

}  // namespace rondo::model
