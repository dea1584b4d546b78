#include "data/bench_clean.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "base/slice.hpp"
#include "data/contamination.hpp"
#include "data/exact_duplicates.hpp"
#include "data/gather.hpp"
#include "data/near_duplicates.hpp"

namespace rondo::data {

namespace {

constexpr double kMeanWords = 200;
constexpr double kSigma = 0.5;
constexpr int64_t kEvery = 20;  // one example of so many is a copy of the one before it
constexpr int64_t kQuestions = 1000;
constexpr int64_t kVocabulary = 50000;

// A made-up corpus: every example is a pure function of its number, so that none is held.
class Corpus {
 public:
  Corpus(int64_t count, uint64_t seed) : count_(count), random_(seed, "bench data") {
    for (int64_t i = 0; i < kVocabulary; ++i) words_.push_back(word(i));
  }
  int64_t size() const { return count_; }
  bool is_copy(int64_t i) const { return i % kEvery == kEvery - 1; }
  std::string example(int64_t i) const { return is_copy(i) ? text(i - 1, changes(i)) : text(i, 0); }
  // A question that no example holds, or, for every hundredth, one that an example does.
  std::string question(int64_t i) const {
    const std::string whole = text(i % 100 == 0 ? i * kEvery % count_ : -1 - i, 0);
    return whole.substr(0, whole.find('\n'));
  }

 private:
  // Short made-up words: the more frequent, the shorter.
  static std::string word(int64_t number) {
    std::string word;
    for (int64_t rest = number + 1; rest > 0; rest /= 20) {
      word += "bcdfghklmnprstvwxyzj"[rest % 20];
      word += "aeiou"[(rest / 20 + number) % 5];
    }
    return word;
  }
  int64_t length(int64_t i) const {
    float z = 0;
    random_.normal(static_cast<uint64_t>(i) * 2, &z, 1);
    const double mu = std::log(kMeanWords) - kSigma * kSigma / 2;
    return std::clamp<int64_t>(std::llround(std::exp(mu + kSigma * static_cast<double>(z))), 20,
                               2000);
  }
  // Shingles of the copy that are others, so that the similarity is the wanted one: with c of n
  // shingles changed it is (n - c) / (n + c).
  int64_t changes(int64_t i) const {
    const double wanted = 0.7 + 0.3 * random_.uniform(static_cast<uint64_t>(i) << 20);
    const auto shingles = static_cast<double>(length(i - 1) - 8);
    return std::llround(shingles * (1 - wanted) / (1 + wanted));
  }
  std::string text(int64_t i, int64_t changed) const {
    const int64_t count = length(i);
    // A word inside changes five shingles, one of the last four words as many as follow it, itself
    // included.
    const int64_t every = changed >= 5 ? count / (changed / 5) : count + 1;
    const int64_t near_end = changed % 5 > 0 ? count - changed % 5 : count;
    // Numbers of its own for each example: the high bits are its number.
    const uint64_t first = (static_cast<uint64_t>(i) + (uint64_t{1} << 40)) << 12;
    std::string text = "u";
    text.reserve(static_cast<size_t>(count) * 7);
    for (int64_t w = 0; w < count; ++w) {
      if (w == count / 4) text += "\na";
      text += ' ';
      if (w == near_end || (w % every == every / 2 && w / every < changed / 5)) {
        text += "changed";
        continue;
      }
      // Zipf's law by inversion: rank = vocabulary^u.
      const double u = random_.uniform(first + static_cast<uint64_t>(w));
      const auto rank = static_cast<size_t>(std::pow(static_cast<double>(kVocabulary), u)) - 1;
      text += words_[std::min(rank, words_.size() - 1)];
    }
    return text;
  }

  int64_t count_;
  base::Random random_;
  std::vector<std::string> words_;
};

int64_t peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

// By similarity in classes of 0.05: copies, those found, and those that should be.
nlohmann::json recall(const Corpus& corpus, const NearDuplicates& found, comm::Group& group) {
  struct Class {
    int64_t copies = 0;
    int64_t found = 0;
    double expected = 0;
  };
  std::vector<Class> mine(7);
  const base::Slice part = base::even_part(corpus.size(), group.size(), group.rank());
  for (int64_t i = part.begin; i < part.end; ++i) {
    if (!corpus.is_copy(i)) continue;
    const double s = similarity(corpus.example(i - 1), corpus.example(i), 5, hash_text);
    if (s < 0.7) continue;
    Class& own = mine[static_cast<size_t>((s - 0.7 + 1e-9) / 0.05)];
    ++own.copies;
    own.expected += 1 - std::pow(1 - std::pow(s, 8), 26);
    const auto edge =
        std::ranges::lower_bound(found.edges, std::pair(i - 1, i), {},
                                 [](const Edge& e) { return std::pair(e.first, e.second); });
    const bool is_found = edge != found.edges.end() && edge->first == i - 1 && edge->second == i;
    own.found += is_found ? 1 : 0;
  }
  const std::vector<Class> all = gather_all(mine, group);
  nlohmann::json classes = nlohmann::json::array();
  for (size_t c = 0; c < mine.size(); ++c) {
    Class sum;
    for (size_t r = 0; r < static_cast<size_t>(group.size()); ++r) {
      const Class& part_of_rank = all[r * mine.size() + c];
      sum.copies += part_of_rank.copies;
      sum.found += part_of_rank.found;
      sum.expected += part_of_rank.expected;
    }
    if (sum.copies == 0) continue;
    const auto copies = static_cast<double>(sum.copies);
    classes.push_back({{"similarity_from", 0.7 + 0.05 * static_cast<double>(c)},
                       {"copies", sum.copies},
                       {"found", static_cast<double>(sum.found) / copies},
                       {"formula", sum.expected / copies}});
  }
  return classes;
}

}  // namespace

nlohmann::json bench_clean(int64_t examples, uint64_t seed, comm::Control& control,
                           comm::Group& group) {
  const Corpus corpus(examples, seed);
  // The making of texts is not to be timed: each rank holds its own part, as a file would.
  const base::Slice mine = base::even_part(examples, group.size(), group.rank());
  std::vector<std::string> texts;
  for (int64_t i = mine.begin; i < mine.end; ++i) texts.push_back(corpus.example(i));
  const auto words = [&](int64_t i) {
    const bool own = i >= mine.begin && i < mine.end;
    return own ? texts[static_cast<size_t>(i - mine.begin)] : corpus.example(i);
  };
  ContaminationIndex index(8, 0.5, hash_text);
  for (int64_t i = 0; i < kQuestions; ++i) index.add(corpus.question(i));
  const int64_t before = peak_bytes();
  group.barrier();

  const auto start = std::chrono::steady_clock::now();
  const auto seconds_since = [](std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  first_of_same(examples, words, hash_text, control, group);
  const double exact = seconds_since(start);
  const NearDuplicates near = near_duplicates(
      examples, words, [](int64_t, int64_t) { return false; }, {}, control, group);
  const double with_near = seconds_since(start);
  std::vector<int64_t> hits = {0};
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    hits[0] += index.hits(words(i)).empty() ? 0 : 1;
  }
  int64_t contaminated = 0;
  for (const int64_t count : gather_all(hits, group)) contaminated += count;
  const double seconds = seconds_since(start);
  const int64_t held = peak_bytes() - before;

  const auto count = static_cast<double>(examples);
  return {{"bench", "data"},
          {"examples", examples},
          {"ranks", group.size()},
          {"seconds", seconds},
          {"seconds_exact", exact},
          {"seconds_near", with_near - exact},
          {"seconds_contamination", seconds - with_near},
          {"examples_per_s", count / seconds},
          {"examples_per_s_and_rank", count / seconds / group.size()},
          {"bytes_per_example_and_rank", static_cast<double>(held) / count},
          {"near_duplicates", near.edges.size()},
          {"pairs_compared", near.candidates},
          {"contaminated", contaminated},
          {"recall", recall(corpus, near, group)}};
}

}  // namespace rondo::data
