#include "model/grow.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"

namespace rondo::model {

bool has_row_per_id(const std::string& parameter) {
  return parameter == "model.embed_tokens.weight" || parameter == "lm_head.weight";
}

void fill_new_rows(const at::Tensor& weight_vd, int64_t old_rows) {
  const int64_t rows = weight_vd.size(0);
  const int64_t width = weight_vd.size(1);
  RONDO_CHECK(old_rows >= 1 && old_rows <= rows);
  float* data = weight_vd.mutable_data_ptr<float>();
  std::vector<double> sum(static_cast<size_t>(width), 0.0);
  for (int64_t row = 0; row < old_rows; ++row) {
    for (int64_t i = 0; i < width; ++i) {
      sum[static_cast<size_t>(i)] += static_cast<double>(data[row * width + i]);
    }
  }
  for (int64_t row = old_rows; row < rows; ++row) {
    std::transform(sum.begin(), sum.end(), data + row * width, [&](double total) {
      return static_cast<float>(total / static_cast<double>(old_rows));
    });
  }
}

}  // namespace rondo::model
