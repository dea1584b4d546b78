// Flat storage of one unit's parameters (one transformer block, the embedding, or the final norm
// and head), its gradients, and this rank's shard of the optimizer state.
//
// Parameters lie end to end in the order given, each starting on a 512-byte boundary except those
// marked `joined` (parts of one GEMM: q|k|v, gate|up), which follow their predecessor without a
// gap. The whole is cut into buckets, each padded to a multiple of group.size() * 128 elements;
// rank r owns part r of every bucket. Padding is zero, stays zero, and is never stored.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/slice.hpp"
#include "comm/group.hpp"

namespace rondo::parallel {

struct Parameter {
  std::string name;  // as in Hugging Face checkpoints
  std::vector<int64_t> shape;
  bool joined = false;  // follows the parameter before it without a gap
  bool decay = true;    // weight decay applies (matrices)
  double init_std = 0;  // normal with this deviation; 0: filled with init_value
  double init_value = 0;
  int64_t numel() const;
};

// A run of elements that this rank owns: elements [global.begin, global.end) of the flattened
// parameter `parameter` lie at `shard_offset` of the shard tensors.
struct OwnedSegment {
  size_t parameter = 0;
  base::Slice global;
  int64_t shard_offset = 0;
};

class Unit {
 public:
  // `with_optimizer`: allocate gradients and the shard's Adam moments (else weights alone).
  Unit(std::string name, std::vector<Parameter> parameters, comm::Group& group,
       bool with_optimizer);

  const std::string& name() const { return name_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  bool with_optimizer() const { return with_optimizer_; }

  // View of parameter i in its own shape; of the gradient likewise (float32, summed into).
  at::Tensor weight(size_t i) const;
  at::Tensor grad(size_t i) const;
  // One matrix view over `count` joined parameters from i on: [sum of rows, columns], or [sum] for
  // vectors. Bug when they are not joined.
  at::Tensor joined_weight(size_t i, size_t count) const;
  at::Tensor joined_grad(size_t i, size_t count) const;

  // Fills weights from (seed, parameter name, element index): the same for every layout.
  void initialise(uint64_t seed);
  void zero_grad();

  // Whole padded flat buffers.
  const at::Tensor& flat_weights() const { return weights_; }
  const at::Tensor& flat_grads() const { return grads_; }

  // Buckets: [begin, end) ranges of the flat buffers, each a multiple of group.size() * 128.
  const std::vector<base::Slice>& buckets() const { return buckets_; }
  // This rank's part of bucket b, as a range of the flat buffers.
  base::Slice owned_range(size_t b) const;
  int64_t shard_numel() const { return shard_numel_; }
  // Adam moments of this rank's shard [shard_numel()].
  at::Tensor& exp_avg() { return exp_avg_; }
  at::Tensor& exp_avg_sq() { return exp_avg_sq_; }
  // What this rank owns, in shard order, padding left out; shard order is bucket by bucket.
  const std::vector<OwnedSegment>& segments() const { return segments_; }
  // Range of the flat buffers of elements [global) of parameter i.
  base::Slice flat_range(size_t i, base::Slice global) const;

  // Each is collective over the group.
  // Starts the sum of every bucket's gradients; this rank's parts are then in place. finish_reduce
  // waits for them.
  void start_reduce();
  void finish_reduce();
  // Gathers the weights that the ranks updated in their own parts.
  void gather_weights();
  // Bytes of weights, gradients and moments on this rank.
  int64_t bytes() const;

 private:
  std::string name_;
  std::vector<Parameter> parameters_;
  std::vector<int64_t> offsets_;  // of each parameter in the flat buffers
  comm::Group& group_;
  bool with_optimizer_ = false;
  at::Tensor weights_, grads_, exp_avg_, exp_avg_sq_;
  std::vector<base::Slice> buckets_;
  std::vector<OwnedSegment> segments_;
  int64_t shard_numel_ = 0;
  std::vector<comm::Work> reducing_;
};

}  // namespace rondo::parallel
