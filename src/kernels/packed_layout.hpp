// Where the documents of a packed batch begin and end. Made once per batch, on the host, used by
// every layer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/slice.hpp"

namespace rondo::kernels {

struct PackedLayout {
  // Rows of the flattened batch (packs * seq_len), padding included.
  int64_t rows = 0;
  // Row ranges of the documents, ascending, not overlapping, not empty. Rows of no document are
  // padding: attention writes zeros there and no gradient comes from them.
  std::vector<base::Slice> documents;
  // int32 [rows]: position within the document; 0 on padding.
  at::Tensor positions;
  int64_t longest = 0;
  // Sum over documents of length * (length + 1) / 2: query-key pairs of causal attention.
  int64_t attention_pairs = 0;

  // On a CUDA device alone: int32, where documents and the stretches of padding between them begin,
  // and at last `rows` (cu_seqlens of varlen attention); the longest of all these.
  at::Tensor boundaries;
  int64_t longest_stretch = 0;

  // Bug when the documents are not as described above.
  static PackedLayout make(int64_t rows, std::vector<base::Slice> documents);
  // The same with its tensors on the device.
  PackedLayout on(at::Device device) const;
};

}  // namespace rondo::kernels
