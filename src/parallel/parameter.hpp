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

// A range of the flattened whole parameter, and where it lies in the flattened local part.
struct StoredRun {
  base::Slice global;
  int64_t local = 0;
};

// Calls use(run) for the runs that `local` (a range of the flattened local part) holds of the whole
// parameter, in order; padding is left out.
template <class Use>
void for_each_run(const Parameter& parameter, const LocalPart& part, base::Slice local, Use&& use) {
  if (parameter.split != Split::kColumns) {
    const int64_t width = parameter.numel() / parameter.shape[0];
    const int64_t first = parameter.split == Split::kRows ? part.range.begin * width : 0;
    const int64_t stored =
        parameter.split == Split::kRows ? part.range.size() * width : parameter.numel();
    const base::Slice run = base::intersect(local, {0, stored});
    if (!run.empty()) use(StoredRun{{first + run.begin, first + run.end}, run.begin});
    return;
  }
  const int64_t width = part.shape[1];
  for (int64_t row = local.begin / width; row * width < local.end; ++row) {
    const base::Slice run = base::intersect(local, {row * width, row * width + part.range.size()});
    if (run.empty()) continue;
    const int64_t first = row * parameter.shape[1] + part.range.begin - row * width;
    use(StoredRun{{first + run.begin, first + run.end}, run.begin});
  }
}

}  // namespace rondo::parallel
