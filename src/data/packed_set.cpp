#include "data/packed_set.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.hpp"
#include "base/json.hpp"
#include "data/packed_format.hpp"
#include "data/step_order.hpp"
#include "storage/hdf5.hpp"

namespace rondo::data {

using nlohmann::json;
using storage::Hdf5File;
using storage::Type;

namespace {

void expect_shape(const Hdf5File& file, const std::string& name, Type type,
                  const std::vector<int64_t>& shape) {
  const std::vector<int64_t> found = file.expect(name, type, static_cast<int>(shape.size()));
  for (size_t i = 0; i < shape.size(); ++i) {
    if (found[i] != shape[i]) {
      base::fail_user("{}: dataset {} has {} entries in dimension {}, {} were expected.",
                      file.path(), name, found[i], i, shape[i]);
    }
  }
}

void expect_text(const Hdf5File& file, const std::string& name, const std::string& expected) {
  const std::string found = file.text_attribute(name);
  if (found != expected) {
    base::fail_user("{}: attribute {} is \"{}\", \"{}\" was expected.", file.path(), name, found,
                    expected);
  }
}

json read_plan(const std::string& folder) {
  const std::string path = folder + "/" + kPlanFile;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    base::fail_user("{}: is not a packed set: it has no {}. `rondo pack` makes one.", folder,
                    kPlanFile);
  }
  const json plan = base::parse_json(base::read_text(path), path + ":", "Pack again.");
  if (!plan.is_object() || plan.value("format", json()) != kPackedFormat) {
    base::fail_user("{}: \"format\" is not \"{}\".", path, kPackedFormat);
  }
  if (plan.value("version", json()) != kPackedVersion) {
    base::fail_user("{}: has version {}, this program reads version {}. Pack again.", path,
                    plan.value("version", json()).dump(), kPackedVersion);
  }
  return plan;
}

// A whole number of plan.json.
int64_t number_at(const std::string& folder, const json& object, const char* key) {
  const auto number = base::whole_number(object.at(key));
  if (!number) {
    base::fail_user("{}/{}: \"{}\" is not a whole number. Pack again.", folder, kPlanFile, key);
  }
  return *number;
}

// Documents must lie end to end from the pack's begin on.
void check_boundaries(const std::string& path, std::span<const int64_t> pack_offsets,
                      std::span<const int64_t> document_offsets, int64_t seq_len) {
  const auto documents = static_cast<int64_t>(document_offsets.size() / 2);
  if (pack_offsets.front() != 0 || pack_offsets.back() != documents) {
    base::fail_user("{}: pack_offsets runs from {} to {}, 0 to {} was expected.", path,
                    pack_offsets.front(), pack_offsets.back(), documents);
  }
  for (size_t p = 0; p + 1 < pack_offsets.size(); ++p) {
    if (pack_offsets[p + 1] < pack_offsets[p] || pack_offsets[p + 1] > documents) {
      base::fail_user("{}: pack_offsets[{}] = {} does not follow {}.", path, p + 1,
                      pack_offsets[p + 1], pack_offsets[p]);
    }
    int64_t expected = 0;
    for (auto d = static_cast<size_t>(pack_offsets[p]);
         d < static_cast<size_t>(pack_offsets[p + 1]); ++d) {
      const int64_t begin = document_offsets[2 * d];
      const int64_t end = document_offsets[2 * d + 1];
      if (begin != expected || end <= begin || end > seq_len) {
        base::fail_user(
            "{}: document {} of pack {} lies at [{}, {}), a begin of {} and an end of at most {} "
            "were expected.",
            path, d, p, begin, end, expected, seq_len);
      }
      expected = end;
    }
  }
}

}  // namespace

PackedSet PackedSet::open(const std::string& folder, int64_t vocab) {
  const json plan = read_plan(folder);
  PackedSet set;
  set.folder_ = folder;
  set.vocab_ = vocab;
  set.pack_offsets_.push_back(0);
  int64_t packs = 0;
  try {
    set.seq_len_ = number_at(folder, plan, "seq_len");
    set.plan_hash_ = plan.at("plan_hash").get<std::string>();
    set.tokenizer_hash_ = plan.at("tokenizer_hash").get<std::string>();
    set.account_ = plan.at("account");
    packs = number_at(folder, set.account_, "packs");
    set.weight_ = set.account_.at("weight").get<double>();
    for (const json& source : set.account_.at("sources")) {
      set.sources_.push_back(source.at("name").get<std::string>());
    }
    if (set.seq_len_ < 1) base::fail_user("{}/{}: \"seq_len\" is below 1.", folder, kPlanFile);
    for (const json& shard : plan.at("shards")) set.open_shard(shard);
  } catch (const json::exception& error) {
    base::fail_user("{}/{}: {}. Pack again.", folder, kPlanFile, error.what());
  }
  if (set.packs() != packs) {
    base::fail_user("{}: its shards hold {} packs, {} says {}. Pack again.", folder, set.packs(),
                    kPlanFile, packs);
  }
  for (int64_t pack = 0; pack < set.packs(); ++pack) {
    double cost = 0;
    const std::span<const int64_t> offsets = set.offsets_of(pack);
    for (size_t d = 0; 2 * d < offsets.size(); ++d) {
      cost += attention_cost(offsets[2 * d + 1] - offsets[2 * d]);
    }
    set.costs_.push_back(cost);
  }
  return set;
}

void PackedSet::open_shard(const json& entry) {
  const std::string path = folder_ + "/" + entry.at("file").get<std::string>();
  const auto bytes = number_at(folder_, entry, "bytes");
  const auto packs = number_at(folder_, entry, "packs");
  const auto documents = number_at(folder_, entry, "documents");
  const Hdf5File hdf5 = Hdf5File::open_read(path);
  Shard shard{.file = base::File::open_read(path),
              .first_pack = this->packs(),
              .tokens_at = 0,
              .codes_at = 0,
              .weight_table = {}};
  if (shard.file.size() != bytes) {
    base::fail_user("{}: {} bytes found, {} expected. Copy it again or pack again.", path,
                    shard.file.size(), bytes);
  }
  expect_text(hdf5, "format", kPackedFormat);
  expect_text(hdf5, "plan_hash", plan_hash_);
  expect_text(hdf5, "tokenizer_hash", tokenizer_hash_);
  expect_shape(hdf5, "tokens", Type::kInt32, {packs, seq_len_});
  expect_shape(hdf5, "weights", Type::kUint8, {packs, seq_len_});
  expect_shape(hdf5, "pack_offsets", Type::kInt64, {packs + 1});
  expect_shape(hdf5, "pack_crc", Type::kUint32, {packs});
  expect_shape(hdf5, "pack_weight", Type::kFloat64, {packs});
  expect_shape(hdf5, "document_offsets", Type::kInt64, {documents, 2});
  expect_shape(hdf5, "example_id", Type::kUint64, {documents});
  expect_shape(hdf5, "source", Type::kUint16, {documents});
  hdf5.expect("weight_table", Type::kFloat32, 1);

  shard.weight_table = hdf5.read_all<float>("weight_table");
  const bool fine = !shard.weight_table.empty() && shard.weight_table[0] == 0.0F &&
                    std::all_of(shard.weight_table.begin(), shard.weight_table.end(),
                                [](float weight) { return std::isfinite(weight) && weight >= 0; });
  if (!fine) {
    base::fail_user("{}: weight_table must begin with 0 and hold finite weights of at least 0.",
                    path);
  }
  shard.tokens_at = hdf5.data_offset("tokens", Type::kInt32);
  shard.codes_at = hdf5.data_offset("weights", Type::kUint8);
  if (packs > 0 && (shard.tokens_at < 0 || shard.codes_at < 0)) {
    base::fail_user("{}: tokens and weights must be stored contiguous.", path);
  }
  const auto pack_offsets = hdf5.read_all<int64_t>("pack_offsets");
  const auto document_offsets = hdf5.read_all<int64_t>("document_offsets");
  check_boundaries(path, pack_offsets, document_offsets, seq_len_);
  const auto source = hdf5.read_all<uint16_t>("source");
  const auto unknown =
      std::find_if(source.begin(), source.end(), [&](uint16_t s) { return s >= sources_.size(); });
  if (unknown != source.end()) {
    base::fail_user("{}: source[{}] = {}, but there are {} sources.", path,
                    unknown - source.begin(), *unknown, sources_.size());
  }

  const int64_t first_document = this->documents();
  for (size_t p = 1; p < pack_offsets.size(); ++p) {
    pack_offsets_.push_back(first_document + pack_offsets[p]);
  }
  const auto append = [](auto& all, const auto& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  append(document_offsets_, document_offsets);
  append(source_, source);
  append(example_id_, hdf5.read_all<uint64_t>("example_id"));
  append(pack_crc_, hdf5.read_all<uint32_t>("pack_crc"));
  append(pack_weight_, hdf5.read_all<double>("pack_weight"));
  shards_.push_back(std::move(shard));
}

const PackedSet::Shard& PackedSet::shard_of(int64_t pack) const {
  const auto after =
      std::upper_bound(shards_.begin(), shards_.end(), pack,
                       [](int64_t p, const Shard& shard) { return p < shard.first_pack; });
  return *(after - 1);
}

std::span<const int64_t> PackedSet::offsets_of(int64_t pack) const {
  const auto begin = static_cast<size_t>(pack_offsets_[static_cast<size_t>(pack)]);
  const auto end = static_cast<size_t>(pack_offsets_[static_cast<size_t>(pack) + 1]);
  return std::span(document_offsets_).subspan(2 * begin, 2 * (end - begin));
}

std::span<const uint64_t> PackedSet::example_ids(int64_t pack) const {
  if (pack == kEmptyPack) return {};
  RONDO_CHECK(pack >= 0 && pack < packs(), "pack {} of {}", pack, packs());
  const auto begin = static_cast<size_t>(pack_offsets_[static_cast<size_t>(pack)]);
  const auto end = static_cast<size_t>(pack_offsets_[static_cast<size_t>(pack) + 1]);
  return std::span(example_id_).subspan(begin, end - begin);
}

double PackedSet::weight_of(int64_t pack, Average average) const {
  if (pack == kEmptyPack) return 0;
  // The weights of an example are scaled to sum to 1.
  if (average == Average::kExamples) return static_cast<double>(example_ids(pack).size());
  return pack_weight_[static_cast<size_t>(pack)];
}

void PackedSet::read_pack(int64_t pack, std::span<int32_t> tokens, std::span<uint8_t> codes) const {
  const Shard& shard = shard_of(pack);
  const int64_t row = pack - shard.first_pack;
  shard.file.read_at(shard.tokens_at + row * seq_len_ * 4, std::as_writable_bytes(tokens));
  shard.file.read_at(shard.codes_at + row * seq_len_, std::as_writable_bytes(codes));
  const uint32_t found = crc_of_pack(tokens, codes, offsets_of(pack));
  const uint32_t expected = pack_crc_[static_cast<size_t>(pack)];
  if (found != expected) {
    base::fail_user(
        "{}: pack {} is damaged: CRC32C {:08x} found, {:08x} expected. Copy the file again or pack "
        "again.",
        shard.file.path(), row, found, expected);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocab_) {
      base::fail_user(
          "{}: token {} of pack {} is {}, ids of the model are 0 to {}. Tokenise with the model's "
          "own tokenizer.",
          shard.file.path(), i, row, tokens[i], vocab_ - 1);
    }
    if (codes[i] >= shard.weight_table.size()) {
      base::fail_user("{}: weight code {} of pack {} is {}, but weight_table has {} entries.",
                      shard.file.path(), i, row, codes[i], shard.weight_table.size());
    }
  }
}

PackedBatch PackedSet::read(std::span<const int64_t> packs, Average average) const {
  const auto count = static_cast<int64_t>(packs.size());
  PackedBatch batch = PackedBatch::empty(count, seq_len_);
  int32_t* tokens = batch.tokens.mutable_data_ptr<int32_t>();
  std::vector<uint8_t> codes(static_cast<size_t>(seq_len_));
  std::vector<base::Slice> documents;
  std::vector<int64_t> rows;
  std::vector<int64_t> labels;
  std::vector<int64_t> sources;
  std::vector<int64_t> examples;
  std::vector<float> weights;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t pack = packs[static_cast<size_t>(i)];
    if (pack == kEmptyPack) continue;
    RONDO_CHECK(pack >= 0 && pack < this->packs(), "pack {} of {}", pack, this->packs());
    const int64_t first_row = i * seq_len_;
    int32_t* pack_tokens = tokens + first_row;
    read_pack(pack, {pack_tokens, static_cast<size_t>(seq_len_)}, codes);
    const std::vector<float>& table = shard_of(pack).weight_table;
    const std::span<const int64_t> offsets = offsets_of(pack);
    const auto first_document = static_cast<size_t>(pack_offsets_[static_cast<size_t>(pack)]);
    double pack_weight = 0;
    for (size_t d = 0; 2 * d < offsets.size(); ++d) {
      const int64_t begin = offsets[2 * d];
      const int64_t end = offsets[2 * d + 1];
      const size_t first_weight = weights.size();
      double total = 0;
      // The last token of a document predicts nothing, whatever its code.
      for (int64_t t = begin; t + 1 < end; ++t) {
        const float weight = table[codes[static_cast<size_t>(t)]];
        if (!(weight > 0)) continue;
        rows.push_back(first_row + t);
        labels.push_back(pack_tokens[t + 1]);
        weights.push_back(weight);
        sources.push_back(source_[first_document + d]);
        examples.push_back(static_cast<int64_t>(documents.size()));
        total += static_cast<double>(weight);
        pack_weight += static_cast<double>(weight);
      }
      if (average == Average::kExamples) {
        for (size_t w = first_weight; w < weights.size(); ++w) {
          weights[w] = static_cast<float>(static_cast<double>(weights[w]) / total);
        }
      }
      documents.push_back({first_row + begin, first_row + end});
      batch.example_ids.push_back(example_id_[first_document + d]);
      batch.real_tokens += end - begin;
    }
    const double stored = pack_weight_[static_cast<size_t>(pack)];
    if (pack_weight != stored) {
      base::fail_user("{}: pack {} weighs {}, but pack_weight says {}. Pack again.",
                      shard_of(pack).file.path(), pack - shard_of(pack).first_pack, pack_weight,
                      stored);
    }
  }
  batch.rows = at::tensor(rows, at::kLong);
  batch.labels = at::tensor(labels, at::kLong);
  batch.weights = at::tensor(weights, at::kFloat);
  batch.sources = at::tensor(sources, at::kLong);
  batch.examples = at::tensor(examples, at::kLong);
  for (const float weight : weights) batch.weight += static_cast<double>(weight);
  batch.trainable_tokens = static_cast<int64_t>(rows.size());
  batch.layout = kernels::PackedLayout::make(count * seq_len_, std::move(documents));
  return batch;
}

}  // namespace rondo::data
