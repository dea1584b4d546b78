#include "data/choose.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.hpp"
#include "base/random.hpp"

namespace rondo::data {

namespace {

using Examples = std::vector<int64_t>;

// A seeded choice of `count` of them, in their order.
Examples choose(const Examples& examples, int64_t count, uint64_t seed, const std::string& stream) {
  const std::vector<int64_t> order =
      base::Random(seed, stream).permutation(static_cast<int64_t>(examples.size()));
  Examples chosen;
  chosen.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    chosen.push_back(examples[static_cast<size_t>(order[static_cast<size_t>(i)])]);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

// Of `rest`, what comes from no row that a held-out example comes from: a row may have become
// several examples, of which one holds another.
Examples without_rows_of(const PackInputs& inputs, const Examples& heldout, const Examples& rest) {
  std::vector<std::string> paths;
  std::set<std::pair<uint16_t, int64_t>> rows;
  for (const Origin& origin : inputs.origins(heldout, paths)) rows.emplace(origin.file, origin.row);
  const std::vector<Origin> origins = inputs.origins(rest, paths);
  Examples kept;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (!rows.contains({origins[i].file, origins[i].row})) kept.push_back(rest[i]);
  }
  return kept;
}

Examples part_of_split(const PackRequest& request, const PackSource& source,
                       const PackInputs& inputs, base::Slice range) {
  Examples all;
  all.reserve(static_cast<size_t>(range.size()));
  for (int64_t i = range.begin; i < range.end; ++i) all.push_back(i);
  if (source.heldout_split == 0) return all;
  if (source.heldout_split >= range.size()) {
    base::fail_user(
        "source {}: {} examples are to be held out, but it has {}. Choose a smaller split.",
        source.name, source.heldout_split, range.size());
  }
  const Examples heldout =
      choose(all, source.heldout_split, request.split_seed, "held-out split of " + source.name);
  if (source.take_heldout) return heldout;
  Examples rest;
  rest.reserve(all.size() - heldout.size());
  std::set_difference(all.begin(), all.end(), heldout.begin(), heldout.end(),
                      std::back_inserter(rest));
  return without_rows_of(inputs, heldout, rest);
}

Examples keep_usable(const PackRequest& request, const PackSource& source, const PackInputs& inputs,
                     std::span<const int32_t> trained, const Examples& examples,
                     SourceAccount& account) {
  Examples usable;
  usable.reserve(examples.size());
  for (const int64_t example : examples) {
    const int64_t length = inputs.length(example);
    if (length > request.seq_len && request.over_long == OverLong::kError) {
      base::fail_user(
          "source {}: {} has {} tokens, a pack has {}. Raise batch.seq_len, or have such examples "
          "dropped or cut.",
          source.name, inputs.describe(example), length, request.seq_len);
    }
    if (length > request.seq_len && request.over_long == OverLong::kDrop) {
      ++account.over_long;
    } else if (trained[static_cast<size_t>(example)] == 0) {
      ++account.fully_masked;
    } else {
      if (length > request.seq_len) ++account.cut;
      usable.push_back(example);
    }
  }
  const double rejected = static_cast<double>(account.over_long) /
                          static_cast<double>(std::max<size_t>(examples.size(), 1));
  // A few held-out examples say little about a source; its training part is what is judged.
  if (rejected > request.max_rejected && !source.take_heldout) {
    base::fail_user(
        "source {}: {} of {} examples ({:.2f} %) have more than {} tokens and would be dropped; at "
        "most {:.2f} % may. Raise batch.seq_len, have them cut, or allow a larger share.",
        source.name, account.over_long, examples.size(), 100 * rejected, request.seq_len,
        100 * request.max_rejected);
  }
  if (usable.empty()) {
    base::fail_user(
        "{}source {} has no trainable token: of its {} examples {} are fully masked and {} too "
        "long.",
        source.take_heldout ? "held-out " : "", source.name, examples.size(), account.fully_masked,
        account.over_long);
  }
  return usable;
}

Examples repeat(const PackRequest& request, const PackSource& source, const Examples& examples) {
  const double whole = std::floor(source.passes);
  Examples result;
  for (double pass = 0; pass < whole; ++pass) {
    result.insert(result.end(), examples.begin(), examples.end());
  }
  const auto more = static_cast<int64_t>(
      std::llround((source.passes - whole) * static_cast<double>(examples.size())));
  const Examples broken = choose(examples, more, request.seed, "broken pass of " + source.name);
  result.insert(result.end(), broken.begin(), broken.end());
  if (result.empty()) {
    base::fail_user("source {}: {} passes over {} examples are not one document.", source.name,
                    source.passes, examples.size());
  }
  return result;
}

// By source, what the shares of request.mix draw.
std::vector<Examples> draw_shares(const PackRequest& request, const PackInputs& inputs,
                                  std::span<const int32_t> trained,
                                  const std::vector<Examples>& examples, PackReport& report) {
  std::vector<std::vector<Drawable>> pools(request.mix->parts.size());
  for (size_t s = 0; s < examples.size(); ++s) {
    for (const int64_t example : examples[s]) {
      pools[request.sources[s].part].push_back({example,
                                                std::min(inputs.length(example), request.seq_len),
                                                trained[static_cast<size_t>(example)]});
    }
  }
  Drawn drawn = draw(*request.mix, pools, request.seed);
  report.mix = std::move(drawn.report);
  report.remarks.insert(report.remarks.end(), drawn.remarks.begin(), drawn.remarks.end());
  std::vector<Examples> by_source(examples.size());
  for (const auto& part : drawn.examples) {
    for (const int64_t example : part) {
      const auto after =
          std::ranges::upper_bound(inputs.sources(), example, {}, &base::Slice::begin);
      by_source[static_cast<size_t>(after - inputs.sources().begin()) - 1].push_back(example);
    }
  }
  return by_source;
}

Documents shuffled(const Documents& documents, uint64_t seed) {
  Documents result;
  result.example.reserve(documents.example.size());
  result.length.reserve(documents.example.size());
  result.source.reserve(documents.example.size());
  for (const int64_t i : base::Random(seed, "document order").permutation(documents.size())) {
    const auto from = static_cast<size_t>(i);
    result.example.push_back(documents.example[from]);
    result.length.push_back(documents.length[from]);
    result.source.push_back(documents.source[from]);
  }
  return result;
}

}  // namespace

std::vector<Examples> usable_examples(const PackRequest& request, const PackInputs& inputs,
                                      std::span<const int32_t> trained, PackReport& report) {
  std::vector<Examples> usable;
  for (size_t s = 0; s < request.sources.size(); ++s) {
    const PackSource& source = request.sources[s];
    SourceAccount account{.name = source.name};
    const Examples examples = part_of_split(request, source, inputs, inputs.sources()[s]);
    account.examples = static_cast<int64_t>(examples.size());
    usable.push_back(keep_usable(request, source, inputs, trained, examples, account));
    if (account.cut > 0) {
      report.remarks.push_back(
          fmt::format("{} examples of {} have more than {} tokens: they are cut there, and end "
                      "without their end-of-turn token",
                      account.cut, source.name, request.seq_len));
    }
    report.sources.push_back(account);
  }
  return usable;
}

Documents choose_documents(const PackRequest& request, const PackInputs& inputs,
                           std::span<const int32_t> trained, std::vector<Examples> examples,
                           PackReport& report) {
  Documents documents;
  std::vector<int64_t> distinct;
  for (size_t s = 0; s < request.sources.size(); ++s) {
    const PackSource& source = request.sources[s];
    Examples& chosen = examples[s];
    if (source.keep) {
      Examples kept = keep_by_score(source, inputs, chosen);
      report.sources[s].not_kept = std::ssize(chosen) - std::ssize(kept);
      chosen = std::move(kept);
    }
    if (source.max_examples > 0 && source.max_examples < static_cast<int64_t>(chosen.size())) {
      chosen = choose(chosen, source.max_examples, request.split_seed, "limit of " + source.name);
    }
    distinct.push_back(static_cast<int64_t>(chosen.size()));
    if (!request.mix) chosen = repeat(request, source, chosen);
  }
  if (request.mix) examples = draw_shares(request, inputs, trained, examples, report);
  for (size_t s = 0; s < request.sources.size(); ++s) {
    SourceAccount& account = report.sources[s];
    const Examples& chosen = examples[s];
    for (const int64_t example : chosen) {
      const int64_t length = std::min(inputs.length(example), request.seq_len);
      documents.example.push_back(example);
      documents.length.push_back(static_cast<int32_t>(length));
      documents.source.push_back(static_cast<uint16_t>(s));
      account.tokens += length;
      account.trained_tokens += trained[static_cast<size_t>(example)];
    }
    account.documents = static_cast<int64_t>(chosen.size());
    account.repeats = std::max<int64_t>(0, account.documents - distinct[s]);
  }
  return shuffled(documents, request.seed);
}

}  // namespace rondo::data
