#include "kernels/packed_layout.hpp"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.hpp"

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

}  // namespace rondo::kernels
