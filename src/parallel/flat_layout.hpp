// Where the parameters of a unit lie in its flat buffers, and which part of them a rank owns. Pure
// arithmetic: no memory, no communication.
//
// Local parts lie end to end in the order given, each starting on a 512-byte boundary except those
// marked `joined` (parts of one GEMM: q|k|v, gate|up), which follow their predecessor without a
// gap. The whole is cut into buckets, each padded to a multiple of `quantum` elements; rank r of
// the shard axis owns part r of every bucket. Padding is zero, stays zero, and is never stored.
#pragma once

#include <cstdint>
#include <vector>

#include "base/slice.hpp"
#include "parallel/parameter.hpp"

namespace rondo::parallel {

// A run of elements of one parameter that this rank owns.
struct OwnedSegment {
  size_t parameter = 0;
  base::Slice local;          // of the flattened local part
  size_t bucket = 0;          // that it lies in
  int64_t bucket_offset = 0;  // from the start of this rank's part of the bucket
  int64_t shard_offset = 0;   // from the start of this rank's parts end to end
};

struct BucketSize {
  int64_t elements = 0;  // of a bucket, about
  int64_t parts =
      1;  // that a bucket is cut into for sums and norms; the data-parallel size divides it
};

class FlatLayout {
 public:
  FlatLayout(std::vector<Parameter> parameters, Place tensor, Place shard, BucketSize bucket);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const LocalPart& local(size_t i) const { return locals_.at(i); }
  // Of local part i in the flat buffers.
  int64_t offset(size_t i) const { return offsets_.at(i); }
  int64_t numel() const { return buckets_.back().end; }

  // Ranges of the flat buffers, each a multiple of parts() * 128.
  const std::vector<base::Slice>& buckets() const { return buckets_; }
  int64_t parts() const { return parts_; }
  // This rank's part of bucket b, as a range of the flat buffers.
  base::Slice owned_range(size_t b) const;
  // Where this rank's part of bucket b begins among its parts end to end.
  int64_t shard_offset(size_t b) const { return buckets_[b].begin / shard_.size; }
  int64_t shard_numel() const { return numel() / shard_.size; }
  // What this rank owns, bucket by bucket; gaps between parameters are left out.
  const std::vector<OwnedSegment>& segments() const { return segments_; }

 private:
  std::vector<Parameter> parameters_;
  std::vector<LocalPart> locals_;
  std::vector<int64_t> offsets_;
  std::vector<base::Slice> buckets_;
  std::vector<OwnedSegment> segments_;
  Place shard_;
  int64_t parts_;
};

}  // namespace rondo::parallel
