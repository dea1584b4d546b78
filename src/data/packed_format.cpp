#include "data/packed_format.hpp"

#include <algorithm>

#include "base/crc32c.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "storage/hdf5.hpp"

namespace rondo::data {

using storage::Hdf5File;
using storage::Type;

std::string shard_name(int64_t shard) { return fmt::format("packed-{:05}.h5", shard); }

int64_t packs_of_shard(int64_t seq_len) {
  constexpr int64_t kShardBytes = int64_t{64} << 20;
  constexpr int64_t kTokenBytes = sizeof(int32_t) + sizeof(uint8_t);
  return std::max<int64_t>(1, kShardBytes / (seq_len * kTokenBytes));
}

uint32_t crc_of_pack(std::span<const int32_t> tokens, std::span<const uint8_t> codes,
                     std::span<const int64_t> document_offsets) {
  const uint32_t of_tokens = base::crc32c(std::as_bytes(tokens));
  return base::crc32c(std::as_bytes(document_offsets),
                      base::crc32c(std::as_bytes(codes), of_tokens));
}

PackedShard::PackedShard(int64_t packs_, int64_t seq_len_)
    : packs(packs_),
      seq_len(seq_len_),
      tokens(static_cast<size_t>(packs_ * seq_len_)),
      codes(static_cast<size_t>(packs_ * seq_len_)),
      pack_offsets{0} {}

std::span<int32_t> PackedShard::tokens_of(int64_t pack) {
  return std::span(tokens).subspan(static_cast<size_t>(pack * seq_len),
                                   static_cast<size_t>(seq_len));
}

std::span<uint8_t> PackedShard::codes_of(int64_t pack) {
  return std::span(codes).subspan(static_cast<size_t>(pack * seq_len),
                                  static_cast<size_t>(seq_len));
}

void write_shard(const std::string& path, PackedShard& shard, const ShardLabels& labels) {
  RONDO_CHECK(static_cast<int64_t>(shard.pack_offsets.size()) == shard.packs + 1);
  const auto documents = static_cast<int64_t>(shard.source.size());
  std::vector<uint32_t> crc;
  std::vector<double> weight;
  for (int64_t p = 0; p < shard.packs; ++p) {
    const auto begin = static_cast<size_t>(shard.pack_offsets[static_cast<size_t>(p)]);
    const auto end = static_cast<size_t>(shard.pack_offsets[static_cast<size_t>(p) + 1]);
    crc.push_back(
        crc_of_pack(shard.tokens_of(p), shard.codes_of(p),
                    std::span(shard.document_offsets).subspan(2 * begin, 2 * (end - begin))));
    double sum = 0;  // a document's last token predicts nothing: its code is 0
    shard.each_code(
        p, [&](size_t, uint8_t code) { sum += static_cast<double>(labels.weight_table[code]); });
    weight.push_back(sum);
  }
  Hdf5File hdf5 = Hdf5File::create(path);
  hdf5.set_attribute("format", kPackedFormat);
  hdf5.set_attribute("version", kPackedVersion);
  hdf5.set_attribute("plan_hash", labels.plan_hash);
  hdf5.set_attribute("tokenizer_hash", labels.tokenizer_hash);
  hdf5.write_all("weight_table", labels.weight_table);
  hdf5.write_all("pack_offsets", shard.pack_offsets);
  hdf5.write_all("example_id", shard.example_id);
  hdf5.write_all("source", shard.source);
  hdf5.write_all("pack_crc", crc);
  hdf5.write_all("pack_weight", weight);
  const int64_t offsets_at = hdf5.create_dataset("document_offsets", Type::kInt64, {documents, 2});
  const int64_t codes_at =
      hdf5.create_dataset("weights", Type::kUint8, {shard.packs, shard.seq_len});
  const int64_t tokens_at =
      hdf5.create_dataset("tokens", Type::kInt32, {shard.packs, shard.seq_len});
  hdf5.close();
  base::File raw = base::File::open_write(path);
  raw.write_at(offsets_at, std::as_bytes(std::span(shard.document_offsets)));
  raw.write_at(codes_at, std::as_bytes(std::span(shard.codes)));
  raw.write_at(tokens_at, std::as_bytes(std::span(shard.tokens)));
  raw.sync();
  raw.close();
}

}  // namespace rondo::data
