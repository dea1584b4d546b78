// The packed format, `rondo.packed` version 2 (docs/formats/packed.md): a folder with plan.json and
// shards packed-00000.h5, ... Names, the checksum of a pack, and the writer of a shard.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rondo::data {

inline constexpr const char* kPackedFormat = "rondo.packed";
inline constexpr int64_t kPackedVersion = 2;
inline constexpr const char* kPlanFile = "plan.json";
inline constexpr const char* kCleanFile = "clean.json";

std::string shard_name(int64_t shard);
// Packs of a full shard: about 64 MiB of tokens and codes, whatever the number of ranks.
int64_t packs_of_shard(int64_t seq_len);

// CRC32C over a pack's tokens, weight codes and document boundaries, in this order.
uint32_t crc_of_pack(std::span<const int32_t> tokens, std::span<const uint8_t> codes,
                     std::span<const int64_t> document_offsets);

// Content of one shard. Documents lie end to end in each pack, from its first token on; what is
// left is padding: token 0, code 0.
struct PackedShard {
  PackedShard(int64_t packs, int64_t seq_len);

  int64_t packs;
  int64_t seq_len;
  std::vector<int32_t> tokens;            // [packs, seq_len]
  std::vector<uint8_t> codes;             // [packs, seq_len]: weight of the next token
  std::vector<int64_t> pack_offsets;      // [packs + 1] into the documents of this shard
  std::vector<int64_t> document_offsets;  // [documents, 2]: begin and end within the pack
  std::vector<uint64_t> example_id;       // [documents]
  std::vector<uint16_t> source;           // [documents]

  // Calls visit(document of this shard, weight code) for every token of a pack, in their order.
  template <class Visit>
  void each_code(int64_t pack, const Visit& visit) {
    const std::span<const uint8_t> own = codes_of(pack);
    for (auto d = static_cast<size_t>(pack_offsets[static_cast<size_t>(pack)]);
         d < static_cast<size_t>(pack_offsets[static_cast<size_t>(pack) + 1]); ++d) {
      for (auto t = static_cast<size_t>(document_offsets[2 * d]);
           t < static_cast<size_t>(document_offsets[2 * d + 1]); ++t) {
        visit(d, own[t]);
      }
    }
  }
  std::span<int32_t> tokens_of(int64_t pack);
  std::span<uint8_t> codes_of(int64_t pack);
};

struct ShardLabels {
  std::string plan_hash;
  std::string tokenizer_hash;
  std::vector<float> weight_table;
};

// Writes and syncs a shard. The same content makes the same bytes.
void write_shard(const std::string& path, PackedShard& shard, const ShardLabels& labels);

}  // namespace rondo::data
