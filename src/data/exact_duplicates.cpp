#include "data/exact_duplicates.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/slice.hpp"
#include "data/gather.hpp"

namespace rondo::data {

namespace {

struct Same {
  int64_t first = 0;
  int64_t later = 0;
};

// Among examples of one hash, in order, those whose content has come before.
void compare(const std::vector<std::pair<uint64_t, int64_t>>& entries, size_t begin, size_t end,
             const ReadContent& content, std::vector<Same>& found) {
  std::vector<std::pair<int64_t, std::string>> different;  // almost always one
  for (size_t i = begin; i < end; ++i) {
    const int64_t example = entries[i].second;
    std::string own = content(example);
    const auto known = std::ranges::find(different, own, &std::pair<int64_t, std::string>::second);
    if (known == different.end()) {
      different.emplace_back(example, std::move(own));
    } else {
      found.push_back({known->first, example});
    }
  }
}

}  // namespace

std::vector<int64_t> first_of_same(int64_t count, const ReadContent& content, HashText hash,
                                   comm::Control& control, comm::Group& group) {
  const base::Slice mine = base::even_part(count, group.size(), group.rank());
  std::vector<uint64_t> hashes;
  control.agree([&] {
    for (int64_t i = mine.begin; i < mine.end; ++i) hashes.push_back(hash(content(i)));
  });
  hashes = gather_all(hashes, group);
  std::vector<Same> found;
  control.agree([&] {
    std::vector<std::pair<uint64_t, int64_t>> entries;
    for (size_t i = 0; i < hashes.size(); ++i) {
      const bool own =
          hashes[i] % static_cast<uint64_t>(group.size()) == static_cast<uint64_t>(group.rank());
      if (own) entries.emplace_back(hashes[i], static_cast<int64_t>(i));
    }
    std::ranges::sort(entries);
    for (size_t begin = 0; begin < entries.size();) {
      size_t end = begin + 1;
      while (end < entries.size() && entries[end].first == entries[begin].first) ++end;
      if (end > begin + 1) compare(entries, begin, end, content, found);
      begin = end;
    }
  });
  std::vector<int64_t> first(static_cast<size_t>(count));
  std::iota(first.begin(), first.end(), int64_t{0});
  for (const Same& same : gather_all(found, group)) {
    first[static_cast<size_t>(same.later)] = same.first;
  }
  return first;
}

}  // namespace rondo::data
