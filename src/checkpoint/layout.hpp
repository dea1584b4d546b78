// Which shard holds which elements: worked out alike on every rank from the pieces of all ranks.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/manifest.hpp"

namespace rondo::checkpoint {

// This rank's pieces in the order in which they are stored (by tensor, then by element), empty ones
// left out. Bug when one lies outside of its tensor or has no data.
std::vector<Piece> in_stored_order(const std::vector<LogicalTensor>& tensors,
                                   std::vector<Piece> pieces);

// Tensor and range of each piece as text, for the other ranks; neighbours are merged.
std::string pieces_text(const std::vector<Piece>& stored);

// Where a rank writes.
struct Place {
  size_t shard = 0;
  base::Slice range;  // of the shard's dataset; empty: this rank writes nothing
  bool makes_file = false;
};

struct Layout {
  std::vector<Shard> shards;  // file names, elements, parts (without CRCs) and segments
  std::vector<Place> places;  // one for each rank
};

// `texts` of all ranks in rank order, and their writer groups. Ranks of one group share a shard,
// each one part of it in the order of ranks; below 0: a shard of its own. Ranks without elements
// have no part, groups without elements no shard.
Layout lay_out(const std::vector<std::string>& texts, const std::vector<int>& groups);

}  // namespace rondo::checkpoint
