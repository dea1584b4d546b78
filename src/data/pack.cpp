#include "data/pack.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/hash.hpp"
#include "base/slice.hpp"
#include "data/choose.hpp"
#include "data/clean.hpp"
#include "data/pack_inputs.hpp"
#include "data/pack_plan.hpp"
#include "data/packed_format.hpp"
#include "data/source_figures.hpp"
#include "data/step_order.hpp"
#include "storage/publish.hpp"

namespace rondo::data {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

void check_request(const PackRequest& request) {
  RONDO_CHECK(request.seq_len >= 2 && request.seq_len < std::numeric_limits<int32_t>::max() - 1);
  RONDO_CHECK(request.max_documents >= 0 && request.vocab >= 1 && !request.out_folder.empty());
  RONDO_CHECK(!request.sources.empty() && request.sources.size() <= 65536);
  for (const PackSource& source : request.sources) {
    if (source.files.empty()) base::fail_user("source {}: has no file.", source.name);
    if (!(source.passes > 0) || !std::isfinite(source.passes)) {
      base::fail_user("source {}: {} passes, a number above 0 was expected.", source.name,
                      source.passes);
    }
    RONDO_CHECK(source.heldout_split >= 0 && source.max_examples >= 0);
  }
}

// Collective over all ranks. Trained tokens of every example; each rank counts its share.
std::vector<int32_t> count_trained(const PackInputs& inputs, int64_t seq_len,
                                   comm::Control& control, comm::Group& group) {
  const int64_t share = base::ceil_div(inputs.examples(), group.size());
  const base::Slice mine =
      base::intersect({share * group.rank(), share * (group.rank() + 1)}, {0, inputs.examples()});
  at::Tensor in = at::zeros({share}, at::kInt);
  control.agree([&] {
    const std::vector<int32_t> counts = inputs.count_trained(mine, seq_len);
    std::copy(counts.begin(), counts.end(), in.mutable_data_ptr<int32_t>());
  });
  at::Tensor out = at::empty({share * group.size()}, at::kInt);
  if (share > 0) group.all_gather(out, in, comm::Purpose::kOther).wait();
  const int32_t* all = out.const_data_ptr<int32_t>();
  return {all, all + inputs.examples()};
}

// Collective over all ranks. Runs work(i) for the items of this rank (i = rank, rank + size, ...)
// and returns every item's result in order, on every rank.
template <class Work>
std::vector<json> shared_out(int64_t items, comm::Control& control, const Work& work) {
  json mine = json::array();
  control.agree([&] {
    for (int64_t i = control.rank(); i < items; i += control.size()) mine.push_back(work(i));
  });
  std::vector<json> parts;
  for (const std::string& text : control.gather_text(mine.dump())) {
    parts.push_back(json::parse(text));
  }
  std::vector<json> results;
  for (int64_t i = 0; i < items; ++i) {
    results.push_back(
        parts[static_cast<size_t>(i % control.size())][static_cast<size_t>(i / control.size())]);
  }
  return results;
}

template <class T>
void add_to(base::Hasher& hasher, const std::vector<T>& values) {
  hasher.add(std::as_bytes(std::span(values)));
}

// Hash of everything that decides what the packs hold; not of where the inputs lie.
std::string hash_plan(const PackRequest& request, const std::vector<json>& inputs,
                      const Documents& documents, const PackPlan& plan) {
  json head = {kPackedFormat, kPackedVersion, request.seq_len};
  for (const json& input : inputs) head.push_back(input["xxh3"]);
  for (const PackSource& source : request.sources) head.push_back(source.name);
  base::Hasher hasher;
  hasher.add(head.dump(-1, ' ', true, json::error_handler_t::replace));
  add_to(hasher, documents.example);
  add_to(hasher, documents.length);
  add_to(hasher, documents.source);
  add_to(hasher, plan.pack_offsets);
  add_to(hasher, plan.documents);
  return hasher.hex();
}

// Figures of the first epoch's order; null where the packs of a step are not known.
json describe_order(const PackRequest& request, const Documents& documents, const PackPlan& plan,
                    const std::string& plan_hash) {
  if (request.packs_per_step == 0) return {};
  const std::vector<double> costs = attention_costs(plan, documents.length);
  const StepOrder order{request.packs_per_step, request.seed, plan_hash};
  const std::vector<int64_t> before = seeded_order(order, plan.packs(), 0);
  const std::vector<int64_t> places = order_of_epoch(order, costs, 0);
  const auto figures = [&](const std::vector<int64_t>& taken, int64_t ranks) {
    const Imbalance found = imbalance_of(taken, costs, request.packs_per_step, ranks);
    return json{{"mean", found.mean}, {"worst", found.worst}};
  };
  json by_ranks = json::array();
  for (int64_t ranks = 2; ranks <= std::min<int64_t>(request.packs_per_step, 64); ++ranks) {
    if (request.packs_per_step % ranks != 0) continue;
    by_ranks.push_back(
        {{"ranks", ranks}, {"before", figures(before, ranks)}, {"after", figures(places, ranks)}});
  }
  base::Hasher hasher;
  add_to(hasher, places);
  return {{"packs_per_step", request.packs_per_step},
          {"imbalance", by_ranks},
          {"first_epoch_hash", hasher.hex()}};
}

PackedShard make_shard(const PackInputs& inputs, const Documents& documents, const PackPlan& plan,
                       base::Slice packs, int64_t seq_len) {
  PackedShard shard(packs.size(), seq_len);
  for (int64_t p = packs.begin; p < packs.end; ++p) {
    const std::span<int32_t> tokens = shard.tokens_of(p - packs.begin);
    const std::span<uint8_t> codes = shard.codes_of(p - packs.begin);
    int64_t at = 0;
    for (int64_t i = plan.pack_offsets[static_cast<size_t>(p)];
         i < plan.pack_offsets[static_cast<size_t>(p) + 1]; ++i) {
      const auto document = static_cast<size_t>(plan.documents[static_cast<size_t>(i)]);
      const int64_t example = documents.example[document];
      const int64_t length = documents.length[document];
      RONDO_CHECK(at + length <= seq_len, "pack {} is too full", p);
      inputs.read(example, tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(length)),
                  codes.subspan(static_cast<size_t>(at), static_cast<size_t>(length)));
      shard.document_offsets.insert(shard.document_offsets.end(), {at, at + length});
      shard.example_id.push_back(inputs.example_id(example));
      shard.source.push_back(documents.source[document]);
      at += length;
    }
    shard.pack_offsets.push_back(static_cast<int64_t>(shard.source.size()));
  }
  return shard;
}

// Sum of the weights of each source's documents in the shard, in their order.
std::vector<double> weights_by_source(PackedShard& shard, const std::vector<float>& table,
                                      size_t sources) {
  std::vector<double> sums(sources, 0.0);
  for (int64_t p = 0; p < shard.packs; ++p) {
    shard.each_code(p, [&](size_t document, uint8_t code) {
      sums[shard.source[document]] += static_cast<double>(table[code]);
    });
  }
  return sums;
}

void check_target(const fs::path& target) {
  if (fs::exists(target) && !fs::exists(target / kPlanFile)) {
    base::fail_user(
        "{}: exists already and is not a packed set (it has no {}). Remove it or choose another "
        "folder.",
        target.string(), kPlanFile);
  }
}

// Moves the finished folder into place; an older set is moved away first and removed afterwards.
void publish(storage::FolderPublisher& publisher) {
  const fs::path target = publisher.target();
  check_target(target);
  const std::string old = storage::temporary_name(target.string());
  const bool replaces = fs::exists(target);
  if (replaces) storage::rename_durably(target.string(), old);
  publisher.commit();
  std::error_code ignored;
  if (replaces) fs::remove_all(old, ignored);
}

json describe_inputs(const PackRequest& request, const PackInputs& inputs,
                     const std::vector<json>& hashes) {
  json list = json::array();
  size_t f = 0;
  for (const PackSource& source : request.sources) {
    for (const std::string& path : source.files) {
      const TokenizedInfo& info = inputs.files()[f].info();
      list.push_back({{"source", source.name},
                      {"path", path},
                      {"bytes", info.file_bytes},
                      {"xxh3", hashes[f++]["xxh3"]},
                      {"tokenizer_hash", info.tokenizer_hash},
                      {"template_hash", info.template_hash},
                      {"settings_hash", info.settings_hash},
                      {"end_of_turn_id", info.end_of_turn_id}});
    }
  }
  return list;
}

// Files of its own sources, which are the first of PackInputs::files().
int64_t files_of(const PackRequest& request) {
  int64_t files = 0;
  for (const PackSource& source : request.sources) files += std::ssize(source.files);
  return files;
}

// Collective over all ranks. Leaves out of `examples` what cleaning removes; the report's text on
// rank 0, "" without cleaning. UserError when a gate fails; the report then lies beside the folder.
std::string clean_examples(const PackRequest& request, const PackInputs& inputs,
                           std::vector<std::vector<int64_t>>& examples, PackReport& report,
                           comm::Control& control, comm::Group& group, base::Console& console) {
  if (!request.clean.any()) return {};
  console.line("cleaning the examples of {}", request.out_folder);
  Cleaned cleaned = clean(request, inputs, examples, report.sources, control, group);
  examples = std::move(cleaned.kept);
  std::string text;
  control.on_first([&] {
    text = cleaned.report.dump(1, ' ', true, json::error_handler_t::replace) + "\n";
    if (cleaned.refusal.empty()) return;
    const std::string path = request.out_folder + ".refused-clean.json";
    if (const auto parent = fs::path(path).parent_path(); !parent.empty()) {
      fs::create_directories(parent);
    }
    base::write_text_durably(path, text);
    base::fail_user("{} What was found: {}", cleaned.refusal, path);
  });
  report.clean_hash = control.broadcast_text(control.is_first() ? base::hash_hex(text) : "");
  return text;
}

}  // namespace

PackReport pack(const PackRequest& request, comm::Control& control, comm::Group& group,
                base::Console& console) {
  RONDO_CHECK(control.size() == group.size() && control.rank() == group.rank());
  std::optional<PackInputs> opened;
  std::string wanted;
  control.agree([&] {
    check_request(request);
    wanted = request_hash(request);
    opened = PackInputs::open(request);
  });
  const PackInputs& inputs = *opened;
  control.same_on_all_ranks(wanted, "what is to be packed");
  control.on_first([&] { check_target(request.out_folder); });

  // Inputs in, documents chosen, packs planned: the same on every rank.
  const std::vector<json> hashes = shared_out(files_of(request), control, [&](int64_t i) {
    return json{{"xxh3", base::hash_file(inputs.files()[static_cast<size_t>(i)].path())}};
  });
  const std::vector<int32_t> trained = count_trained(inputs, request.seq_len, control, group);
  PackReport report;
  std::vector<std::vector<int64_t>> examples;
  control.agree([&] { examples = usable_examples(request, inputs, trained, report); });
  const std::string findings =
      clean_examples(request, inputs, examples, report, control, group, console);
  Documents documents;
  control.agree(
      [&] { documents = choose_documents(request, inputs, trained, std::move(examples), report); });
  const std::vector<json> figures = figures_of_sources(inputs, documents, control);
  for (size_t s = 0; s < figures.size(); ++s) report.sources[s].figures = figures[s];
  const PackPlan plan =
      plan_packs(documents.length, {request.seq_len, request.max_documents}, request.seed);
  report.packs = plan.packs();
  report.seq_len = request.seq_len;
  report.plan_hash = hash_plan(request, hashes, documents, plan);
  control.same_on_all_ranks(report.plan_hash, "the plan of the packs");
  report.order = describe_order(request, documents, plan, report.plan_hash);
  console.line("packing {} documents into {} packs of {} tokens: {}", documents.size(),
               plan.packs(), request.seq_len, request.out_folder);

  // Shards, by all ranks.
  std::optional<storage::FolderPublisher> publisher;
  control.on_first([&] {
    storage::remove_leftovers(request.out_folder);
    publisher.emplace(request.out_folder, storage::Existing::kMovedByCaller);
    storage::check_free_space(publisher->path(),
                              plan.packs() * request.seq_len * 5 + documents.size() * 26);
  });
  const std::string folder = control.broadcast_text(publisher ? publisher->path() : "");
  const int64_t per_shard = packs_of_shard(request.seq_len);
  const std::vector<json> shards =
      shared_out(base::ceil_div(plan.packs(), per_shard), control, [&](int64_t s) {
        const base::Slice packs =
            base::intersect({s * per_shard, (s + 1) * per_shard}, {0, plan.packs()});
        PackedShard shard = make_shard(inputs, documents, plan, packs, request.seq_len);
        const std::string path = folder + "/" + shard_name(s);
        write_shard(path, shard,
                    {report.plan_hash, inputs.tokenizer_hash(), inputs.weight_table()});
        return json{
            {"file", shard_name(s)},
            {"packs", packs.size()},
            {"documents", shard.source.size()},
            {"weights", weights_by_source(shard, inputs.weight_table(), request.sources.size())},
            {"bytes", fs::file_size(path)},
            {"xxh3", base::hash_file(path)}};
      });
  for (const json& shard : shards) {
    for (size_t s = 0; s < report.sources.size(); ++s) {
      report.sources[s].weight += shard["weights"][s].get<double>();
    }
  }

  // The plan last, then the folder's name.
  control.on_first([&] {
    if (!findings.empty()) base::write_text_durably(folder + "/" + kCleanFile, findings);
    std::error_code none;
    fs::remove(request.out_folder + ".refused-clean.json", none);
    const json file = {{"format", kPackedFormat},
                       {"version", kPackedVersion},
                       {"plan_hash", report.plan_hash},
                       {"request_hash", wanted},
                       {"seed", request.seed},
                       {"seq_len", request.seq_len},
                       {"max_documents", request.max_documents},
                       {"tokenizer_hash", inputs.tokenizer_hash()},
                       {"inputs", describe_inputs(request, inputs, hashes)},
                       {"account", report.to_json()},
                       {"shards", shards}};
    base::write_text_durably(folder + "/" + kPlanFile,
                             file.dump(2, ' ', true, json::error_handler_t::replace) + "\n");
    publish(*publisher);
  });
  report.print(console);
  return report;
}

}  // namespace rondo::data
