#include "kernels/packed_layout.hpp"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "kernels/on_device.hpp"

namespace rondo::kernels {

PackedLayout PackedLayout::make(int64_t rows, std::vector<base::Slice> documents) {
  RONDO_CHECK(rows >= 0, "a layout of {} rows", rows);
  PackedLayout layout;
  layout.rows = rows;
  layout.positions = at::zeros({rows}, at::kInt);
  int32_t* positions = layout.positions.mutable_data_ptr<int32_t>();
  int64_t end_of_previous = 0;
  for (const base::Slice& document : documents) {
    RONDO_CHECK(document.begin >= end_of_previous && document.size() > 0 && document.end <= rows,
                "document [{}, {}) after row {} of {}", document.begin, document.end,
                end_of_previous, rows);
    end_of_previous = document.end;
    const int64_t length = document.size();
    std::iota(positions + document.begin, positions + document.end, 0);
    layout.longest = std::max(layout.longest, length);
    layout.attention_pairs += length * (length + 1) / 2;
  }
  layout.documents = std::move(documents);
  return layout;
}

PackedLayout PackedLayout::on(at::Device device) const {
  PackedLayout there = *this;
  if (device.is_cpu()) return there;
  std::vector<int32_t> begins = {0};
  const auto begin_at = [&](int64_t row) {
    if (row == begins.back()) return;
    there.longest_stretch = std::max(there.longest_stretch, row - begins.back());
    begins.push_back(static_cast<int32_t>(row));
  };
  for (const base::Slice& document : documents) {
    begin_at(document.begin);
    begin_at(document.end);
  }
  begin_at(rows);
  there.boundaries = on_device(at::tensor(begins, at::kInt), device);
  there.positions = on_device(positions, device);
  return there;
}

}  // namespace rondo::kernels
