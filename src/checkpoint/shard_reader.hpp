// Elements of tensors out of the shards of a checkpoint.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "base/slice.hpp"
#include "checkpoint/manifest.hpp"

namespace rondo::checkpoint {

class ShardReader {
 public:
  // `manifest`, of the checkpoint in `folder`, must outlive it.
  ShardReader(std::string folder, const Manifest& manifest);

  // `elements` of a flattened tensor of the manifest, run k to out + k * out_stride; in the order
  // of the files, and what lies closely together by one call. SystemError when a file cannot be
  // read.
  void read(size_t tensor, base::Strided elements, float* out, int64_t out_stride);

 private:
  struct Location {
    size_t shard = 0;
    Segment segment;
  };
  // The segments that hold a tensor.
  struct Locations {
    std::vector<Location> by_begin;
    int64_t longest = 0;  // from first to last element of any of them
  };
  // Elements that lie end to end in a file, and where they are wanted.
  struct Extent {
    size_t shard = 0;
    int64_t offset = 0;  // in elements of the shard
    int64_t count = 0;
    float* out = nullptr;
  };

  static void find_extents(const Locations& locations, base::Slice wanted, float* out,
                           std::vector<Extent>& extents);
  void read_extents(std::vector<Extent>& extents);
  const base::File& shard(size_t number);

  const std::string folder_;
  const Manifest& manifest_;
  std::vector<Locations> of_tensor_;
  std::map<size_t, base::File> open_;  // the files read so far
  std::vector<float> window_;
};

}  // namespace rondo::checkpoint
