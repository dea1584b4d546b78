// One shard on disk: an HDF5 file with the single dataset "elements" (1-D float32). HDF5 makes the
// file; the elements are written and read at their offset by plain file calls.
#pragma once

#include <cstdint>
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

// Makes and syncs the file with room for `elements`.
ShardFrame make_shard(const std::string& path, const std::string& id, int64_t index,
                      int64_t elements);

// Hash of the bytes before and after the elements of an open shard.
std::string frame_hash(const base::File& file, int64_t bytes, int64_t data_at, int64_t elements);

struct WrittenPart {
  std::vector<uint32_t> crc32c;  // of each kBlock elements
  uint64_t digest = 0;
};

// Writes `pieces` end to end into elements [range) of the shard, syncs and closes it. CRCs are
// taken of the memory that is written, the digest of the pieces.
WrittenPart write_part(const std::string& path, int64_t data_at, base::Slice range,
                       const std::vector<LogicalTensor>& tensors, const std::vector<Piece>& pieces);

}  // namespace rondo::checkpoint
