#include "data/near_duplicates.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/slice.hpp"
#include "data/gather.hpp"

namespace rondo::data {

namespace {

constexpr uint64_t kNoKey = 0;  // of an example without words

// Keys of this rank's examples, band by band.
std::vector<uint64_t> keys_of(base::Slice mine, const ReadWords& words,
                              const NearSettings& settings) {
  const MinHash minhash(settings.bands, settings.band_rows);
  const auto count = static_cast<size_t>(mine.size());
  std::vector<uint64_t> keys(count * static_cast<size_t>(settings.bands), kNoKey);
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    const std::vector<WordRun> shingles =
        word_runs(words(i), Turns::kAll, settings.shingle_words, true, settings.hash);
    if (shingles.empty()) continue;
    const std::vector<uint64_t> of_example = minhash.band_keys(shingles);
    for (size_t band = 0; band < of_example.size(); ++band) {
      keys[band * count + static_cast<size_t>(i - mine.begin)] = of_example[band];
    }
  }
  return keys;
}

using Pair = uint64_t;  // first << 32 | second
Pair pair_of(uint32_t first, uint32_t second) { return uint64_t{first} << 32 | second; }
int64_t first_of(Pair pair) { return static_cast<int64_t>(pair >> 32); }
int64_t second_of(Pair pair) { return static_cast<int64_t>(pair & 0xFFFFFFFF); }

void sort_unique(std::vector<Pair>& pairs) {
  std::ranges::sort(pairs);
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
}

struct Entry {
  uint64_t key;
  uint32_t example;
  auto operator<=>(const Entry&) const = default;
};

// Pairs of examples of one bucket after the other; returns how many buckets were too wide.
int64_t pair_up(std::vector<Entry>& entries, int64_t most_compared, std::vector<Pair>& pairs) {
  std::ranges::sort(entries);
  int64_t wide = 0;
  for (size_t begin = 0; begin < entries.size();) {
    size_t end = begin + 1;
    while (end < entries.size() && entries[end].key == entries[begin].key) ++end;
    const auto reach = static_cast<size_t>(most_compared);
    wide += end - begin > reach + 1 ? 1 : 0;
    for (size_t i = begin; i < end; ++i) {
      for (size_t j = i + 1; j < std::min(end, i + 1 + reach); ++j) {
        pairs.push_back(pair_of(entries[i].example, entries[j].example));
      }
    }
    begin = end;
  }
  return wide;
}

}  // namespace

NearDuplicates near_duplicates(int64_t count, const ReadWords& words, const Unrelated& unrelated,
                               const NearSettings& settings, comm::Control& control,
                               comm::Group& group) {
  RONDO_CHECK(count >= 0 && count < int64_t{1} << 32 && settings.most_compared >= 1);
  const auto rank = static_cast<uint64_t>(group.rank());
  const auto ranks = static_cast<uint64_t>(group.size());
  const base::Slice mine = base::even_part(count, group.size(), group.rank());
  std::vector<uint64_t> keys;
  control.agree([&] { keys = keys_of(mine, words, settings); });

  // The rank that owns a key pairs up the examples that have it.
  NearDuplicates result;
  std::vector<Pair> pairs;
  std::vector<int64_t> wide = {0};
  const auto size = static_cast<size_t>(mine.size());
  for (size_t band = 0; band < static_cast<size_t>(settings.bands); ++band) {
    const auto begin = keys.begin() + static_cast<ptrdiff_t>(band * size);
    const std::vector<uint64_t> all = gather_all(std::vector(begin, begin + mine.size()), group);
    std::vector<Entry> entries;
    entries.reserve(all.size() / ranks + 1);
    for (size_t i = 0; i < all.size(); ++i) {
      const bool own = all[i] != kNoKey && all[i] % ranks == rank;
      if (own) entries.push_back({all[i], static_cast<uint32_t>(i)});
    }
    wide[0] += pair_up(entries, settings.most_compared, pairs);
    sort_unique(pairs);
  }
  for (const int64_t buckets : gather_all(wide, group)) result.wide_buckets += buckets;

  pairs = gather_all(pairs, group);
  sort_unique(pairs);
  std::erase_if(pairs, [&](Pair pair) { return unrelated(first_of(pair), second_of(pair)); });
  result.candidates = static_cast<int64_t>(pairs.size());
  std::vector<Edge> found;
  control.agree([&] {
    const base::Slice share = base::even_part(result.candidates, group.size(), group.rank());
    int64_t held = -1;  // the example whose words are in `first`
    std::string first;
    for (int64_t p = share.begin; p < share.end; ++p) {
      const Pair pair = pairs[static_cast<size_t>(p)];
      if (held != first_of(pair)) first = words(held = first_of(pair));
      const double value =
          similarity(first, words(second_of(pair)), settings.shingle_words, settings.hash);
      if (value >= settings.jaccard) found.push_back({held, second_of(pair), value});
    }
  });
  result.edges = gather_all(found, group);
  return result;
}

}  // namespace rondo::data
