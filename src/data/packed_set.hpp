// A packed set on disk, read by packs.
//
// Opening checks plan.json and every shard's size, attributes, types, shapes and document
// boundaries; the tokens stay on disk. Every pack that is read is checked against its CRC32C, and
// its ids against the model's vocabulary. Every failed check is a UserError that names file, pack,
// found and expected. Reading is safe from several threads.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "data/batch.hpp"

namespace rondo::data {

// In a list of packs: a pack without a document.
inline constexpr int64_t kEmptyPack = -1;

class PackedSet {
 public:
  // `vocab`: number of ids the model has.
  static PackedSet open(const std::string& folder, int64_t vocab);

  const std::string& folder() const { return folder_; }
  int64_t packs() const { return static_cast<int64_t>(pack_offsets_.size()) - 1; }
  int64_t documents() const { return pack_offsets_.back(); }
  int64_t seq_len() const { return seq_len_; }
  const std::string& plan_hash() const { return plan_hash_; }
  const std::string& tokenizer_hash() const { return tokenizer_hash_; }
  // Names of the sources; PackedBatch::sources and /source index them.
  const std::vector<std::string>& sources() const { return sources_; }
  // Sum of all weights of the set, in tokens of weight 1.
  double weight() const { return weight_; }
  // What became of every source's examples (PackReport::to_json).
  const nlohmann::json& account() const { return account_; }
  // Sum of the weights of a pack's labels; 0 for kEmptyPack.
  double weight_of(int64_t pack, Average average = Average::kTokens) const;
  // By pack, what attention costs: the sum of the squares of its documents' lengths.
  const std::vector<double>& costs() const { return costs_; }
  // Documents of a pack, in their order; none for kEmptyPack.
  std::span<const uint64_t> example_ids(int64_t pack) const;

  // These packs side by side, in this order.
  PackedBatch read(std::span<const int64_t> packs, Average average = Average::kTokens) const;

 private:
  struct Shard {
    base::File file;
    int64_t first_pack = 0;
    int64_t tokens_at = 0;  // byte offsets in the file
    int64_t codes_at = 0;
    std::vector<float> weight_table{};
  };
  PackedSet() = default;
  void open_shard(const nlohmann::json& entry);
  const Shard& shard_of(int64_t pack) const;
  // Reads and checks one pack.
  void read_pack(int64_t pack, std::span<int32_t> tokens, std::span<uint8_t> codes) const;
  std::span<const int64_t> offsets_of(int64_t pack) const;

  std::string folder_;
  int64_t vocab_ = 0;
  int64_t seq_len_ = 0;
  std::string plan_hash_;
  std::string tokenizer_hash_;
  std::vector<std::string> sources_;
  double weight_ = 0;
  nlohmann::json account_;
  std::vector<Shard> shards_;
  std::vector<int64_t> pack_offsets_;      // [packs + 1] into the documents of the set
  std::vector<int64_t> document_offsets_;  // [documents, 2]: begin and end within the pack
  std::vector<uint64_t> example_id_;
  std::vector<uint16_t> source_;
  std::vector<uint32_t> pack_crc_;
  std::vector<double> pack_weight_;
  std::vector<double> costs_;
};

}  // namespace rondo::data
