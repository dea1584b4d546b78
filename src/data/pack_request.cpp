#include "data/pack_request.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "data/evaluation_words.hpp"
#include "data/packed_format.hpp"
#include "data/tokenized.hpp"

namespace rondo::data {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

json identity_of_keep(const PackSource& source) {
  if (!source.keep) return {};
  const Keep& keep = *source.keep;
  json files = json::array();
  for (const std::string& path : score_files(source)) files.push_back(base::hash_file(path));
  const auto bound = [](const std::optional<double>& value) {
    return value ? json(*value) : json();
  };
  return {keep.score, bound(keep.above), bound(keep.below), keep.top, files};
}

json identity_of(const std::vector<PackSource>& sources) {
  json list = json::array();
  for (const PackSource& source : sources) {
    json files = json::array();
    for (const std::string& path : source.files) {
      const TokenizedInfo info = read_tokenized_info(path);
      files.push_back({info.file_bytes, info.tokenizer_hash, info.template_hash, info.settings_hash,
                       info.vocab_size, info.end_of_turn_id, info.source_files, info.counts});
    }
    list.push_back({source.name, files, source.passes, source.heldout_split, source.take_heldout,
                    source.max_examples, source.part, source.replayed, identity_of_keep(source)});
  }
  return list;
}

json identity_of(const CleanSettings& clean) {
  json sets = json::array();
  if (clean.contamination != CleanAction::kOff) {
    for (const EvaluationSet& set : clean.evaluation_sets) {
      json files = json::array();
      for (const std::string& path : set.files) files.push_back(identity_of_instances(path));
      sets.push_back({set.name, files});
    }
  }
  return {static_cast<int>(clean.exact),
          static_cast<int>(clean.near),
          static_cast<int>(clean.across_rounds),
          static_cast<int>(clean.contamination),
          clean.jaccard,
          clean.shingle_words,
          clean.bands,
          clean.band_rows,
          clean.keep_longest,
          clean.ngram,
          clean.share,
          clean.max_hit,
          clean.max_removed,
          sets};
}

json identity_of(const Mix& mix) {
  json parts = json::array();
  for (const MixPart& part : mix.parts) parts.push_back({part.name, part.share});
  return {parts, static_cast<int>(mix.by), mix.temperature, mix.tokens};
}

}  // namespace

std::string request_hash(const PackRequest& request) {
  const bool across = request.clean.across_rounds != CleanAction::kOff;
  const json all = {kPackedFormat,
                    kPackedVersion,
                    identity_of(request.sources),
                    request.seq_len,
                    request.max_documents,
                    request.seed,
                    request.split_seed,
                    request.vocab,
                    static_cast<int>(request.over_long),
                    request.max_rejected,
                    identity_of(request.clean),
                    request.mix ? identity_of(*request.mix) : json(),
                    across ? identity_of(request.earlier) : json()};
  return base::hash_hex(all.dump(-1, ' ', true, json::error_handler_t::replace));
}

bool is_current(const std::string& folder, const PackRequest& request) {
  const std::string path = folder + "/" + kPlanFile;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  const json plan = json::parse(base::read_text(path), nullptr, false);
  if (!plan.is_object() || !plan.contains("request_hash") || !plan.contains("shards") ||
      !plan["shards"].is_array() || plan["request_hash"] != request_hash(request)) {
    return false;
  }
  for (const json& shard : plan["shards"]) {
    if (!shard.is_object() || !shard.contains("file") || !shard["file"].is_string()) return false;
    const auto bytes = fs::file_size(folder + "/" + shard["file"].get<std::string>(), error);
    if (error || shard.value("bytes", json()) != bytes) return false;
  }
  return true;
}

}  // namespace rondo::data
