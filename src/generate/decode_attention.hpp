// Attention of one new token for each sequence of a batch against that sequence's cached keys and
// values. The reference is kernels::reference::attention on the whole sequence.
//
// Legend of shape letters: h query heads, k key/value heads, c head width.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "kernels/kernels.hpp"

namespace rondo::generate {

// Row i of qkv [rows, (h + 2k) * c] holds the queries of sequence i; its lengths[i] positions, the
// new one included, are in keys and values [sequences, k, max_length, c]. out [rows, h * c]; a
// sequence of length 0, and a row beyond the last sequence, gets zeros. A row's result depends on
// that row and its sequence alone, to the last bit. All float32 and contiguous.
void decode_attention(const at::Tensor& qkv, const kernels::AttentionShape& shape,
                      const at::Tensor& keys, const at::Tensor& values,
                      std::span<const int64_t> lengths, at::Tensor& out);

}  // namespace rondo::generate
