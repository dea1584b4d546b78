// Which documents share a pack: best-fit decreasing (BFD) with exact ties, in linear time.
//
// Documents are taken longest first (equal lengths: lowest index first); each goes into the fullest
// pack that has room for it (equally full packs: the one that became so last), else into a new one.
// Packs are then put in a seeded random order, so that an epoch does not run from long to short.
// D. S. Johnson, "Near-optimal bin packing algorithms", MIT 1973 (BFD uses at most 11/9 of the
// optimal number of packs, plus 4).
//
// Lengths are bounded by the capacity, so that the sort is a counting sort and packs lie in one
// bucket per remaining room; a bitmap over the buckets finds the next one that is not empty.
// Pure: no files, no ranks. Memory: about 12 bytes per document beside the result.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace rondo::data {

// Pack p holds documents[pack_offsets[p] .. pack_offsets[p + 1]), longest first.
struct PackPlan {
  std::vector<int64_t> pack_offsets;  // [packs + 1]
  std::vector<int64_t> documents;     // each index below lengths.size() exactly once
  int64_t packs() const { return static_cast<int64_t>(pack_offsets.size()) - 1; }
};

struct PackLimits {
  int64_t capacity = 0;       // tokens of a pack
  int64_t max_documents = 0;  // of a pack; 0: no bound
};

// Bug unless every length is in [1, capacity] and there are fewer than 2^31 documents.
PackPlan plan_packs(std::span<const int32_t> lengths, const PackLimits& limits, uint64_t seed);

}  // namespace rondo::data
