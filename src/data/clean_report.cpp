#include "data/clean_report.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"

namespace rondo::data {

using nlohmann::json;

const char* name_of(CleanAction action) {
  constexpr std::array kNames = {"off", "report", "remove"};
  return kNames[static_cast<size_t>(action)];
}

namespace {

constexpr size_t kQuoteBytes = 300;

// The beginning of a text, cut between characters.
std::string quote(const std::string& words) {
  if (words.size() <= kQuoteBytes) return words;
  size_t end = kQuoteBytes;
  while (end > 0 && (static_cast<uint8_t>(words[end]) & 0xC0) == 0x80) --end;
  return fmt::format("{}...", words.substr(0, end));
}

json as_json(const CleanSettings& settings) {
  return {{"exact", name_of(settings.exact)},
          {"near", name_of(settings.near)},
          {"across_rounds", name_of(settings.across_rounds)},
          {"jaccard", settings.jaccard},
          {"shingle_words", settings.shingle_words},
          {"bands", settings.bands},
          {"band_rows", settings.band_rows},
          {"keep", settings.keep_longest ? "longest" : "first"},
          {"max_removed", settings.max_removed},
          {"contamination",
           {{"action", name_of(settings.contamination)},
            {"ngram", settings.ngram},
            {"share", settings.share},
            {"max_hit", settings.max_hit}}}};
}

const char* name_of(FindingKind kind) {
  constexpr std::array kNames = {"exact duplicate", "near-duplicate", "in an earlier round",
                                 "contaminated"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace

std::string refusal_of(const CleanReport& report, const CleanSettings& settings,
                       const std::vector<SourceAccount>& accounts) {
  for (const SetAccount& set : report.sets) {
    for (const auto& [source, hit] : set.hit) {
      const auto share = static_cast<double>(hit) / static_cast<double>(set.instances.size());
      if (!(share > settings.max_hit)) continue;
      return fmt::format(
          "source {}: its examples hold {} of the {} instances of the evaluation set {} ({:.2f} "
          "%); "
          "at most {:.2f} % may. Take the source out, or correct it; or, knowing what the results "
          "on {} are then worth, raise clean.contamination.max_hit.",
          accounts[source].name, hit, set.instances.size(), set.name, 100 * share,
          100 * settings.max_hit, set.name);
    }
  }
  for (size_t s = 0; s < accounts.size(); ++s) {
    const int64_t exact =
        settings.exact == CleanAction::kRemove ? accounts[s].exact_duplicates : int64_t{0};
    const int64_t near =
        settings.near == CleanAction::kRemove ? accounts[s].near_duplicates : int64_t{0};
    const double share = static_cast<double>(exact + near) /
                         static_cast<double>(std::max<int64_t>(report.usable[s], 1));
    if (share > settings.max_removed) {
      return fmt::format(
          "source {}: {} of its {} examples ({:.1f} %) would be removed as duplicates ({} exact, "
          "{} "
          "near); at most {:.1f} % may. If they are meant to be alike, set clean.exact or "
          "clean.near "
          "to report or off; else raise clean.max_removed.",
          accounts[s].name, exact + near, report.usable[s], 100 * share, exact, near,
          100 * settings.max_removed);
    }
    if (report.kept[s] == 0 && report.usable[s] > 0) {
      return fmt::format(
          "source {}: cleaning leaves none of its {} examples. Take it out, or clean "
          "less (clean.exact, clean.near, clean.contamination).",
          accounts[s].name, report.usable[s]);
    }
  }
  return {};
}

json describe(const CleanReport& report, const CleanSettings& settings,
              const std::vector<SourceAccount>& accounts, const PackInputs& inputs,
              const std::vector<int64_t>& examples) {
  std::vector<std::string> paths;
  const std::vector<Origin> origins = inputs.origins(examples, paths);
  const auto side = [&](int64_t place, bool quoted) {
    const Origin& origin = origins[static_cast<size_t>(place)];
    const int64_t example = examples[static_cast<size_t>(place)];
    json entry = {{"origin", fmt::format("{}:{}", paths[origin.file], origin.row)},
                  {"id", fmt::format("{:016x}", inputs.example_id(example))}};
    if (quoted) entry["words"] = quote(inputs.read_words(example));
    return entry;
  };
  json findings = json::array();
  std::array<int64_t, 4> seen{};
  for (const Finding& finding : report.findings) {
    const bool quoted = seen[static_cast<size_t>(finding.kind)]++ < kQuoted;
    json entry = {{"kind", name_of(finding.kind)},
                  {"similarity", finding.similarity},
                  {"example", side(finding.example, quoted)}};
    if (finding.kind == FindingKind::kContaminated) {
      const SetAccount& set = report.sets[finding.set];
      const EvaluationInstance& instance = set.instances[static_cast<size_t>(finding.other)];
      entry["of"] = {{"evaluation_set", set.name}, {"origin", instance.origin}};
      if (quoted) entry["of"]["words"] = quote(instance.words);
    } else {
      entry["of"] = side(finding.other, quoted);
    }
    findings.push_back(std::move(entry));
  }
  json sources = json::array();
  for (size_t s = 0; s < accounts.size(); ++s) {
    sources.push_back({{"name", accounts[s].name},
                       {"examples", report.usable[s]},
                       {"kept", report.kept[s]},
                       {"exact_duplicates", accounts[s].exact_duplicates},
                       {"near_duplicates", accounts[s].near_duplicates},
                       {"in_earlier_rounds", accounts[s].in_earlier_rounds},
                       {"contaminated", accounts[s].contaminated}});
  }
  json sets = json::array();
  for (const SetAccount& set : report.sets) {
    json hit = json::object();
    for (const auto& [source, instances] : set.hit) hit[accounts[source].name] = instances;
    sets.push_back({{"name", set.name}, {"instances", set.instances.size()}, {"hit", hit}});
  }
  return {{"format", "rondo.clean"},
          {"version", 1},
          {"settings", as_json(settings)},
          {"sources", sources},
          {"evaluation_sets", sets},
          {"pairs_compared", report.candidates},
          {"wide_buckets", report.wide_buckets},
          {"findings", findings}};
}

}  // namespace rondo::data
