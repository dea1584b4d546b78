// Which activations a block's forward does not keep, but its backward computes again: memory for
// time, never another bit of the result.
#pragma once

#include <cmath>
#include <cstdint>

namespace rondo::model {

struct Recompute {
  // Each also recomputes what those before it do. The output of SwiGLU is never kept.
  enum class What {
    kNone,
    kNorms,      // outputs of the two norms: their scaling again
    kAttention,  // queries, keys, values and the output of attention: that half of the block again
    kBlock,      // all but the block's input: the whole forward again
  };
  What what = What::kNone;
  double share = 1;  // of the blocks, the first ones

  // The blocks [0, count) recompute.
  int64_t count(int64_t layers) const {
    return what == What::kNone ? 0 : std::llround(share * static_cast<double>(layers));
  }
  bool of(int64_t layer, int64_t layers, What at_least) const {
    return what >= at_least && layer < count(layers);
  }
  bool operator==(const Recompute&) const = default;
};

}  // namespace rondo::model
