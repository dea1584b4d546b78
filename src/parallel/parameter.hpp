// A parameter of a model, and what one rank of the tensor axis holds of it. Pure functions.
//
// Slices of one parameter have the same size on every rank: where a dimension does not divide, the
// last slices are padded with zeros, which stay zero and are never stored.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/slice.hpp"

namespace rondo::parallel {

// Along which dimension the tensor axis divides a parameter (Shoeybi et al. 2019, "Megatron-LM"):
// output rows of a column-parallel linear, input columns of a row-parallel one.
enum class Split { kWhole, kRows, kColumns };

struct Parameter {
  std::string name;  // as in Hugging Face checkpoints
  std::vector<int64_t> shape;
  Split split = Split::kWhole;
  // Pieces of the split dimension that stay whole (heads); 0: single rows or columns. Fewer pieces
  // than ranks: neighbouring ranks hold the same one.
  int64_t pieces = 0;
  bool joined = false;  // follows the parameter before it without a gap
  bool decay = true;    // weight decay applies (matrices)
  double init_std = 0;  // normal with this deviation; 0: filled with init_value
  double init_value = 0;

  int64_t numel() const;
};

// A rank's place on an axis of the mesh.
struct Place {
  int rank = 0;
  int size = 1;
};

// What one rank of the tensor axis holds of a parameter.
struct LocalPart {
  std::vector<int64_t> shape;  // padding included
  base::Slice range;           // of the split dimension, padding left out
  int parts = 1;               // different slices over the axis
  int part = 0;                // which of them this is
  int copies = 1;              // ranks that hold the same slice
  int copy = 0;                // which of these this rank is

  int64_t numel() const;
};

// Bug when the pieces divide neither over the ranks nor the ranks over them.
LocalPart local_part(const Parameter& parameter, Place tensor);

// Elements of the flattened whole parameter, and where they lie in the flattened local part: run k
// of `global` from local + k * local_stride on.
struct StoredBlock {
  base::Strided global;
  int64_t local = 0;
  int64_t local_stride = 0;
};

// Calls use(block) for what `local` (a range of the flattened local part) holds of the whole
// parameter, in order; padding is left out. At most three blocks: of columns, the rest of a first
// row, whole rows, and the begin of a last one.
template <class Use>
void for_each_block(const Parameter& parameter, const LocalPart& part, base::Slice local,
                    Use&& use) {
  if (parameter.split != Split::kColumns) {
    const int64_t width = parameter.numel() / parameter.shape[0];
    const int64_t first = parameter.split == Split::kRows ? part.range.begin * width : 0;
    const int64_t stored =
        parameter.split == Split::kRows ? part.range.size() * width : parameter.numel();
    const base::Slice run = base::intersect(local, {0, stored});
    if (run.empty()) return;
    use(StoredBlock{base::Slice{first + run.begin, first + run.end}, run.begin, run.size()});
    return;
  }
  const int64_t width = part.shape[1];
  const auto rows = [&](int64_t row, int64_t count, int64_t from, int64_t to) {
    const base::Slice columns = base::intersect({from, to}, {0, part.range.size()});
    if (columns.empty() || count <= 0) return;
    const int64_t first = row * parameter.shape[1] + part.range.begin + columns.begin;
    use(StoredBlock{
        {first, columns.size(), parameter.shape[1], count}, row * width + columns.begin, width});
  };
  if (local.empty()) return;
  int64_t row = local.begin / width;
  const int64_t last = local.end / width;
  if (row == last) return rows(row, 1, local.begin % width, local.end % width);
  if (local.begin % width != 0) rows(row++, 1, local.begin % width, width);
  rows(row, last - row, 0, width);
  rows(last, 1, 0, local.end % width);
}

// A range of the flattened whole parameter, and where it lies in the flattened local part.
struct StoredRun {
  base::Slice global;
  int64_t local = 0;
};

// for_each_block(), run by run.
template <class Use>
void for_each_run(const Parameter& parameter, const LocalPart& part, base::Slice local, Use&& use) {
  for_each_block(parameter, part, local, [&](const StoredBlock& block) {
    for (int64_t k = 0; k < block.global.count; ++k) {
      use(StoredRun{block.global.run(k), block.local + k * block.local_stride});
    }
  });
}

}  // namespace rondo::parallel
