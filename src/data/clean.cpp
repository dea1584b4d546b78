#include "data/clean.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "data/clean_report.hpp"
#include "data/components.hpp"
#include "data/contamination.hpp"
#include "data/evaluation_words.hpp"
#include "data/exact_duplicates.hpp"
#include "data/gather.hpp"
#include "data/near_duplicates.hpp"

namespace rondo::data {

namespace {

// All usable examples as one list, behind them those of earlier rounds; the steps below speak of
// places in it.
class Candidates {
 public:
  Candidates(const PackRequest& request, const PackInputs& inputs,
             const std::vector<std::vector<int64_t>>& usable)
      : request_(request), inputs_(inputs) {
    for (size_t s = 0; s < usable.size(); ++s) {
      for (const int64_t example : usable[s]) {
        examples_.push_back(example);
        sources_.push_back(static_cast<uint16_t>(s));
      }
    }
    own_ = std::ssize(examples_);
    for (int64_t i = inputs.earlier().begin; i < inputs.earlier().end; ++i) examples_.push_back(i);
    removed_.resize(examples_.size(), false);
  }
  int64_t size() const { return static_cast<int64_t>(examples_.size()); }
  bool is_earlier(int64_t i) const { return i >= own_; }
  // Comes again because it is meant to.
  bool is_replayed(int64_t i) const {
    return !is_earlier(i) && request_.sources[source(i)].replayed;
  }
  int64_t example(int64_t i) const { return examples_[static_cast<size_t>(i)]; }
  size_t source(int64_t i) const { return sources_[static_cast<size_t>(i)]; }
  bool removed(int64_t i) const { return removed_[static_cast<size_t>(i)]; }
  void remove(int64_t i) { removed_[static_cast<size_t>(i)] = true; }
  const std::vector<int64_t>& examples() const { return examples_; }
  std::string words(int64_t i) const { return inputs_.read_words(example(i)); }
  // Own places that are not removed.
  std::vector<int64_t> left() const {
    std::vector<int64_t> places;
    for (int64_t i = 0; i < own_; ++i) {
      if (!removed(i)) places.push_back(i);
    }
    return places;
  }

 private:
  const PackRequest& request_;
  const PackInputs& inputs_;
  std::vector<int64_t> examples_;  // numbers in PackInputs
  std::vector<uint16_t> sources_;
  std::vector<bool> removed_;
  int64_t own_ = 0;
};

// Which candidates are alike.
struct Likeness {
  std::vector<int64_t> first;  // by place
  NearDuplicates near;         // between places
};

void find_exact(const PackInputs& inputs, const CleanSettings& settings, Candidates& candidates,
                Likeness& likeness, std::vector<Finding>& findings, comm::Control& control,
                comm::Group& group) {
  if (settings.exact == CleanAction::kOff && settings.across_rounds == CleanAction::kOff) return;
  likeness.first = first_of_same(
      candidates.size(),
      [&](int64_t i) {
        // What is replayed is like nothing but itself.
        const std::string own = candidates.is_replayed(i) ? fmt::format("{} of replay ", i) : "";
        return own + inputs.read_content(candidates.example(i));
      },
      hash_text, control, group);
  if (settings.exact == CleanAction::kOff) return;
  for (int64_t i = 0; i < candidates.size() && !candidates.is_earlier(i); ++i) {
    const int64_t same = likeness.first[static_cast<size_t>(i)];
    if (same == i) continue;
    findings.push_back({FindingKind::kExact, i, same, 1.0});
    if (settings.exact == CleanAction::kRemove) candidates.remove(i);
  }
}

// Compares all that are not exact duplicates of one before: those are looked at once, whatever is
// done with them.
void compare_near(const PackInputs& inputs, const CleanSettings& settings,
                  const Candidates& candidates, Likeness& likeness, comm::Control& control,
                  comm::Group& group) {
  if (settings.near == CleanAction::kOff && settings.across_rounds == CleanAction::kOff) return;
  std::vector<int64_t> places;
  for (int64_t i = 0; i < candidates.size(); ++i) {
    const bool looked_at = settings.exact != CleanAction::kOff || candidates.is_earlier(i);
    const bool repeats =
        looked_at && !likeness.first.empty() && likeness.first[static_cast<size_t>(i)] != i;
    if (!repeats && !candidates.is_replayed(i)) places.push_back(i);
  }
  const auto place = [&](int64_t i) { return places[static_cast<size_t>(i)]; };
  std::vector<Origin> origins;
  control.agree([&] {
    std::vector<std::string> paths;
    origins = inputs.origins(candidates.examples(), paths);
  });
  const auto unrelated = [&](int64_t a, int64_t b) {
    const Origin& first = origins[static_cast<size_t>(place(a))];
    const Origin& second = origins[static_cast<size_t>(place(b))];
    const bool one_row = first.file == second.file && first.row == second.row;
    return one_row || (candidates.is_earlier(place(a)) && candidates.is_earlier(place(b)));
  };
  NearSettings near;
  near.jaccard = settings.jaccard;
  near.shingle_words = settings.shingle_words;
  near.bands = settings.bands;
  near.band_rows = settings.band_rows;
  likeness.near = near_duplicates(
      static_cast<int64_t>(places.size()), [&](int64_t i) { return candidates.words(place(i)); },
      unrelated, near, control, group);
  for (Edge& edge : likeness.near.edges) {
    edge.first = place(edge.first);
    edge.second = place(edge.second);
  }
}

void find_near(const PackInputs& inputs, const CleanSettings& settings, Candidates& candidates,
               const Likeness& likeness, std::vector<Finding>& findings) {
  if (settings.near == CleanAction::kOff) return;
  const auto count = static_cast<size_t>(candidates.size());
  Components components(candidates.size());
  std::vector<double> likest(count, 0);
  for (const Edge& edge : likeness.near.edges) {
    if (candidates.is_earlier(edge.second)) continue;
    components.connect(edge.first, edge.second);
    for (const int64_t end : {edge.first, edge.second}) {
      double& best = likest[static_cast<size_t>(end)];
      best = std::max(best, edge.similarity);
    }
  }
  const auto length = [&](int64_t i) { return inputs.length(candidates.example(i)); };
  std::vector<int64_t> keeper(count);  // by root
  for (int64_t i = 0; i < candidates.size(); ++i) {
    const int64_t root = components.root(i);
    int64_t& kept = keeper[static_cast<size_t>(root)];
    if (i == root || (settings.keep_longest && length(i) > length(kept))) kept = i;
  }
  for (int64_t i = 0; i < candidates.size(); ++i) {
    const int64_t kept = keeper[static_cast<size_t>(components.root(i))];
    if (kept == i) continue;
    findings.push_back({FindingKind::kNear, i, kept, likest[static_cast<size_t>(i)]});
    if (settings.near == CleanAction::kRemove) candidates.remove(i);
  }
}

// Own examples that are the same as, or near, one that an earlier round trained on.
void find_earlier(const CleanSettings& settings, Candidates& candidates, const Likeness& likeness,
                  std::vector<Finding>& findings) {
  if (settings.across_rounds == CleanAction::kOff) return;
  std::map<int64_t, std::pair<int64_t, double>> found;  // own place: the earlier one it is like
  for (int64_t i = 0; i < candidates.size(); ++i) {
    const int64_t same = likeness.first[static_cast<size_t>(i)];
    if (candidates.is_earlier(i) && !candidates.is_earlier(same)) found.try_emplace(same, i, 1.0);
  }
  for (const Edge& edge : likeness.near.edges) {
    if (!candidates.is_earlier(edge.second) || candidates.is_earlier(edge.first)) continue;
    auto& best = found.try_emplace(edge.first, edge.second, edge.similarity).first->second;
    if (edge.similarity > best.second) best = {edge.second, edge.similarity};
  }
  for (const auto& [own, earlier] : found) {
    if (candidates.removed(own)) continue;
    findings.push_back({FindingKind::kEarlier, own, earlier.first, earlier.second});
    if (settings.across_rounds == CleanAction::kRemove) candidates.remove(own);
  }
}

struct FoundHit {
  int64_t set;
  int64_t place;
  int64_t instance;
  double share;
};

// Every example left against every evaluation set; by set, then by place.
std::vector<FoundHit> find_hits(const Candidates& candidates, const CleanSettings& settings,
                                const std::vector<SetAccount>& sets, comm::Control& control,
                                comm::Group& group) {
  std::vector<FoundHit> hits;
  control.agree([&] {
    std::vector<ContaminationIndex> indices;
    for (const SetAccount& set : sets) {
      indices.emplace_back(settings.ngram, settings.share, hash_text);
      for (const EvaluationInstance& instance : set.instances) indices.back().add(instance.words);
    }
    const std::vector<int64_t> left = candidates.left();
    const base::Slice mine =
        base::even_part(static_cast<int64_t>(left.size()), group.size(), group.rank());
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t place = left[static_cast<size_t>(i)];
      const std::string words = candidates.words(place);
      for (size_t set = 0; set < sets.size(); ++set) {
        for (const Hit& hit : indices[set].hits(words)) {
          hits.push_back({static_cast<int64_t>(set), place, hit.instance, hit.share});
        }
      }
    }
  });
  hits = gather_all(hits, group);
  std::ranges::stable_sort(hits, {}, &FoundHit::set);
  return hits;
}

// Reads the evaluation sets on every rank: they are small.
std::vector<SetAccount> read_sets(const CleanSettings& settings, comm::Control& control) {
  std::vector<SetAccount> sets;
  control.agree([&] {
    for (const EvaluationSet& set : settings.evaluation_sets) {
      SetAccount& account = sets.emplace_back(SetAccount{.name = set.name});
      for (const std::string& path : set.files) {
        for (auto& found : read_instances(path)) account.instances.push_back(std::move(found));
      }
    }
  });
  return sets;
}

void find_contamination(const CleanSettings& settings, Candidates& candidates, CleanReport& report,
                        comm::Control& control, comm::Group& group) {
  if (settings.contamination == CleanAction::kOff) return;
  report.sets = read_sets(settings, control);
  std::map<std::pair<int64_t, size_t>, std::set<int64_t>> instances;  // by set and source
  for (const FoundHit& hit : find_hits(candidates, settings, report.sets, control, group)) {
    report.findings.push_back({FindingKind::kContaminated, hit.place, hit.instance, hit.share,
                               static_cast<size_t>(hit.set)});
    instances[{hit.set, candidates.source(hit.place)}].insert(hit.instance);
    if (settings.contamination == CleanAction::kRemove) candidates.remove(hit.place);
  }
  for (const auto& [key, hit] : instances) {
    report.sets[static_cast<size_t>(key.first)].hit[key.second] = std::ssize(hit);
  }
}

// Counts each example once for each kind.
void count(const Candidates& candidates, const std::vector<Finding>& findings,
           std::vector<SourceAccount>& accounts) {
  std::set<int64_t> contaminated;  // by several sets, or several instances of one
  for (const Finding& finding : findings) {
    SourceAccount& account = accounts[candidates.source(finding.example)];
    if (finding.kind == FindingKind::kExact) ++account.exact_duplicates;
    if (finding.kind == FindingKind::kNear) ++account.near_duplicates;
    if (finding.kind == FindingKind::kEarlier) ++account.in_earlier_rounds;
    if (finding.kind == FindingKind::kContaminated && contaminated.insert(finding.example).second) {
      ++account.contaminated;
    }
  }
}

}  // namespace

Cleaned clean(const PackRequest& request, const PackInputs& inputs,
              const std::vector<std::vector<int64_t>>& usable, std::vector<SourceAccount>& accounts,
              comm::Control& control, comm::Group& group) {
  const CleanSettings& settings = request.clean;
  Candidates candidates(request, inputs, usable);
  CleanReport report;
  Likeness likeness;
  find_exact(inputs, settings, candidates, likeness, report.findings, control, group);
  compare_near(inputs, settings, candidates, likeness, control, group);
  find_near(inputs, settings, candidates, likeness, report.findings);
  find_earlier(settings, candidates, likeness, report.findings);
  find_contamination(settings, candidates, report, control, group);
  count(candidates, report.findings, accounts);
  report.candidates = likeness.near.candidates;
  report.wide_buckets = likeness.near.wide_buckets;

  Cleaned result;
  result.kept.resize(usable.size());
  for (const int64_t place : candidates.left()) {
    result.kept[candidates.source(place)].push_back(candidates.example(place));
  }
  for (size_t s = 0; s < usable.size(); ++s) {
    report.usable.push_back(static_cast<int64_t>(usable[s].size()));
    report.kept.push_back(static_cast<int64_t>(result.kept[s].size()));
  }
  result.refusal = refusal_of(report, settings, accounts);
  control.on_first(
      [&] { result.report = describe(report, settings, accounts, inputs, candidates.examples()); });
  return result;
}

}  // namespace rondo::data
