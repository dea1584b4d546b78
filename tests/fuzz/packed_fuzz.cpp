// Packed sets whose shards HDF5 itself made: a valid set of two shards, changed as the input says.
// The input: a byte of two bits, a byte that counts the changes of the first shard, these, and the
// changes of plan.json. Bit 0 leaves the packs' checksums and weights as they are after the changes
// (else they are made right); bit 1 takes what is left of the input as the whole text of plan.json.
#include <array>
#include <nlohmann/json.hpp>

#include "data/packed_format.hpp"
#include "data/packed_set.hpp"
#include "fuzz/hdf5_content.hpp"

namespace rondo::fuzz {
namespace {

using nlohmann::json;

constexpr int64_t kSeqLen = 8;
constexpr int64_t kPacks = 3;
constexpr int64_t kVocab = 16;

Content shard_content() {
  Content content;
  content.add_text("format", data::kPackedFormat);
  content.add_number("version", data::kPackedVersion);
  content.add_text("plan_hash", std::string(32, 'p'));
  content.add_text("tokenizer_hash", std::string(32, 'a'));
  content.add<float>("weight_table", {0.0F, 1.0F, 0.5F});
  content.add<int64_t>("pack_offsets", {0, 2, 3, 4});
  content.add<int64_t>("document_offsets", {0, 3, 3, 5, 0, 8, 0, 2}, {4, 2});
  content.add<uint64_t>("example_id", {1, 2, 3, 4});
  content.add<uint16_t>("source", {0, 1, 0, 1});
  content.add<uint32_t>("pack_crc", {0, 0, 0});
  content.add<double>("pack_weight", {0, 0, 0});
  content.add<uint8_t>("weights", {1, 1, 0, 1, 0, 0, 0, 0,  //
                                   1, 1, 2, 2, 1, 1, 1, 0,  //
                                   2, 0, 0, 0, 0, 0, 0, 0},
                       {kPacks, kSeqLen});
  content.add<int32_t>("tokens", {5,  6,  7, 8, 9, 0, 0, 0,  //
                                  1,  2,  3, 4, 5, 6, 7, 8,  //
                                  14, 15, 0, 0, 0, 0, 0, 0},
                       {kPacks, kSeqLen});
  return content;
}

template <class T>
std::vector<T> values_of(Content& content, const char* name, size_t count) {
  std::string bytes = content.dataset(name).bytes;
  bytes.resize(count * sizeof(T));
  std::vector<T> values(count);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// Checksums and weights of the packs, as the writer would have stored them.
void repair(Content& content) {
  const auto tokens = values_of<int32_t>(content, "tokens", kPacks * kSeqLen);
  const auto codes = values_of<uint8_t>(content, "weights", kPacks * kSeqLen);
  const auto packs = values_of<int64_t>(content, "pack_offsets", kPacks + 1);
  const auto documents = values_of<int64_t>(content, "document_offsets", 8);
  const auto table = values_of<float>(content, "weight_table", 3);
  std::vector<uint32_t> crc(kPacks);
  std::vector<double> weight(kPacks);
  for (size_t p = 0; p < kPacks; ++p) {
    if (packs[p] < 0 || packs[p + 1] < packs[p] || packs[p + 1] > 4) continue;
    const auto begin = static_cast<size_t>(packs[p]);
    const auto end = static_cast<size_t>(packs[p + 1]);
    const auto own_codes = std::span(codes).subspan(p * kSeqLen, kSeqLen);
    crc[p] = data::crc_of_pack(std::span(tokens).subspan(p * kSeqLen, kSeqLen), own_codes,
                               std::span(documents).subspan(2 * begin, 2 * (end - begin)));
    for (size_t d = begin; d < end; ++d) {
      for (int64_t t = documents[2 * d]; t >= 0 && t + 1 < documents[2 * d + 1] && t < kSeqLen;
           ++t) {
        const uint8_t code = own_codes[static_cast<size_t>(t)];
        if (code < table.size()) weight[p] += static_cast<double>(table[code]);
      }
    }
  }
  const auto put = [&](const char* name, const void* from, size_t bytes) {
    content.dataset(name).bytes.assign(static_cast<const char*>(from), bytes);
  };
  put("pack_crc", crc.data(), crc.size() * sizeof(uint32_t));
  put("pack_weight", weight.data(), weight.size() * sizeof(double));
}

int64_t size_of(const std::string& path) { return base::File::open_read(path).size(); }

json plan_of(const std::array<std::string, 2>& shards) {
  json list = json::array();
  for (size_t s = 0; s < shards.size(); ++s) {
    list.push_back({{"file", data::shard_name(static_cast<int64_t>(s))},
                    {"packs", kPacks},
                    {"documents", 4},
                    {"bytes", size_of(shards[s])}});
  }
  const json sources = {{{"name", "one"}}, {{"name", "two"}}};
  return {{"format", data::kPackedFormat},
          {"version", data::kPackedVersion},
          {"seq_len", kSeqLen},
          {"plan_hash", std::string(32, 'p')},
          {"tokenizer_hash", std::string(32, 'a')},
          {"account", {{"packs", 2 * kPacks}, {"weight", 17.0}, {"sources", sources}}},
          {"shards", list}};
}

// Replaces one value of the plan by a number or by JSON text of the input, or removes it.
void edit_plan(json& plan, Input& input) {
  constexpr std::array kPlaces = {"/format",
                                  "/version",
                                  "/seq_len",
                                  "/plan_hash",
                                  "/tokenizer_hash",
                                  "/account",
                                  "/account/packs",
                                  "/account/weight",
                                  "/account/sources",
                                  "/account/sources/0",
                                  "/account/sources/0/name",
                                  "/shards",
                                  "/shards/0",
                                  "/shards/0/file",
                                  "/shards/0/packs",
                                  "/shards/0/documents",
                                  "/shards/0/bytes",
                                  "/shards/1"};
  const json::json_pointer place(kPlaces.at(input.below(kPlaces.size())));
  const size_t what = input.below(3);
  json value = what == 0 ? json(input.number()) : json::parse(input.text(), nullptr, false);
  if (!plan.contains(place)) return;
  if (what == 2) {
    json& parent = plan[place.parent_pointer()];
    if (parent.is_object()) parent.erase(place.back());
    return;
  }
  if (!value.is_discarded()) plan[place] = std::move(value);
}

void read_set() {
  accepts([&] {
    const data::PackedSet set = data::PackedSet::open(folder(), kVocab);
    std::vector<int64_t> all = {data::kEmptyPack};
    for (int64_t p = 0; p < set.packs(); ++p) {
      set.weight_of(p);
      set.example_ids(p);
      bool read = true;
      for (const auto average : {data::Average::kTokens, data::Average::kExamples}) {
        read = accepts([&] { set.read(std::vector<int64_t>{p}, average); }) && read;
      }
      if (read) all.push_back(p);
    }
    if (all.size() == 1) return;
    const data::PackedBatch batch = set.read(all);
    RONDO_CHECK(batch.trainable_tokens <= batch.real_tokens && batch.weight >= 0);
    RONDO_CHECK(batch.tokens.numel() == batch.packs * set.seq_len());
    RONDO_CHECK(batch.tokens.max().item<int32_t>() < kVocab);
  });
}

void run(Input input) {
  static const std::string other = write_content("other.h5", shard_content(), "");
  const uint8_t mode = input.byte();
  Content first = shard_content();
  Content second = shard_content();
  repair(second);
  const size_t edits = input.below(16);
  for (size_t i = 0; i < edits; ++i) edit(first, input);
  if (mode % 2 == 0) repair(first);
  const std::array<std::string, 2> shards = {write_content(data::shard_name(0), first, other),
                                             write_content(data::shard_name(1), second, other)};
  json plan = plan_of(shards);
  if (mode / 2 % 2 == 1) {
    write_file(data::kPlanFile, input.rest());
  } else {
    while (!input.empty()) edit_plan(plan, input);
    write_file(data::kPlanFile, plan.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  read_set();
}

}  // namespace
}  // namespace rondo::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rondo::fuzz::run({data, size});
  return 0;
}
