// One shard on disk: an HDF5 file with the single dataset "elements" (1-D float32). HDF5 makes the
// file; the elements are written and read at their offset by plain file calls.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "base/slice.hpp"
#include "checkpoint/manifest.hpp"

namespace rondo::checkpoint {

// What surrounds the elements of a shard.
struct ShardFrame {
  int64_t bytes = 0;    // of the file
  int64_t data_at = 0;  // byte at which the elements begin
  std::string hash;     // of all bytes that are not elements
};

// Makes the file with room for `elements`; not synced.
ShardFrame make_shard(const std::string& path, const std::string& id, int64_t index,
                      int64_t elements);

// Hash of the bytes before and after the elements of an open shard.
std::string frame_hash(const base::File& file, int64_t bytes, int64_t data_at, int64_t elements);

struct WrittenPart {
  std::vector<uint32_t> crc32c;  // of each kBlock elements
  uint64_t digest = 0;
  std::string not_finite;  // the first tensor with a number that is not finite
};

// Where a part goes, and what is told of the way there.
struct PartTarget {
  std::string path;  // of the shard
  int64_t data_at = 0;
  base::Slice range;  // elements of the shard
  std::function<void()> half_written = [] {};
};

// Writes `pieces` end to end, syncs and closes the file. CRCs are taken of the memory that is
// written. `staged`: the same numbers in one piece of memory; empty: they are gathered block by
// block. Calls neither MPI nor HDF5.
WrittenPart write_part(const PartTarget& target, const std::vector<LogicalTensor>& tensors,
                       const std::vector<Piece>& pieces, std::span<const float> staged);

// Copies `pieces` end to end into `staging`, which has their size.
void copy_pieces(const std::vector<Piece>& pieces, std::span<float> staging);

}  // namespace rondo::checkpoint
