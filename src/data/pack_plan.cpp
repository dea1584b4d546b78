#include "data/pack_plan.hpp"

#include <bit>
#include <limits>
#include <utility>

#include "base/error.hpp"
#include "base/random.hpp"
#include "base/slice.hpp"

namespace rondo::data {

namespace {

constexpr int32_t kNone = -1;

// A set of small integers that finds its next member from a given one on.
class BitSet {
 public:
  explicit BitSet(int64_t size)
      : words_(static_cast<size_t>(base::ceil_div(size, 64))),
        summary_(static_cast<size_t>(base::ceil_div(size, 4096))) {}

  void insert(size_t member) {
    words_[member / 64] |= uint64_t{1} << (member % 64);
    summary_[member / 4096] |= uint64_t{1} << (member / 64 % 64);
  }
  void erase(size_t member) {
    uint64_t& word = words_[member / 64];
    word &= ~(uint64_t{1} << (member % 64));
    if (word == 0) summary_[member / 4096] &= ~(uint64_t{1} << (member / 64 % 64));
  }
  // The least member >= from, or kNone. `from` is below the size.
  int32_t next(size_t from) const {
    const uint64_t here = words_[from / 64] >> (from % 64);
    if (here != 0) return static_cast<int32_t>(from + static_cast<size_t>(std::countr_zero(here)));
    size_t word = from / 64 + 1;
    if (word >= words_.size()) return kNone;
    uint64_t group = summary_[word / 64] >> (word % 64) << (word % 64);
    for (size_t at = word / 64;;) {
      if (group != 0) {
        word = at * 64 + static_cast<size_t>(std::countr_zero(group));
        return static_cast<int32_t>(word * 64 +
                                    static_cast<size_t>(std::countr_zero(words_[word])));
      }
      if (++at == summary_.size()) return kNone;
      group = summary_[at];
    }
  }

 private:
  std::vector<uint64_t> words_;
  std::vector<uint64_t> summary_;  // bit w: word w is not zero
};

// The packs of a plan under way; the open ones by the room they have left, last come first.
class Packs {
 public:
  explicit Packs(const PackLimits& limits)
      : limits_(limits),
        first_(static_cast<size_t>(limits.capacity) + 1, kNone),
        filled_(limits.capacity + 1) {}

  // Puts a document into the fullest open pack with room for it, or into a new one.
  int32_t add(int32_t length) {
    int32_t room = filled_.next(static_cast<size_t>(length));
    int32_t index = kNone;
    if (room == kNone) {
      index = static_cast<int32_t>(packs_.size());
      packs_.push_back({});
      room = static_cast<int32_t>(limits_.capacity);
    } else {
      const auto bucket = static_cast<size_t>(room);
      index = first_[bucket];
      first_[bucket] = packs_[static_cast<size_t>(index)].next;
      if (first_[bucket] == kNone) filled_.erase(bucket);
    }
    Pack& pack = packs_[static_cast<size_t>(index)];
    ++pack.documents;
    const bool closed = limits_.max_documents > 0 && pack.documents >= limits_.max_documents;
    if (room > length && !closed) {
      const auto bucket = static_cast<size_t>(room - length);
      if (first_[bucket] == kNone) filled_.insert(bucket);
      pack.next = first_[bucket];
      first_[bucket] = index;
    }
    return index;
  }
  int64_t size() const { return static_cast<int64_t>(packs_.size()); }
  int32_t documents(int64_t pack) const { return packs_[static_cast<size_t>(pack)].documents; }

 private:
  // Together, since both are touched for each document and packs are many.
  struct Pack {
    int32_t next = kNone;  // with the same room
    int32_t documents = 0;
  };
  const PackLimits limits_;
  std::vector<int32_t> first_;  // by room: a pack, or kNone
  std::vector<Pack> packs_;
  BitSet filled_;
};

// Document indices, longest first, by counting sort.
struct Sorted {
  std::vector<int32_t> order;
  std::vector<int32_t> ends;  // [capacity]: end in `order` of those of capacity - i tokens
};

Sorted longest_first(std::span<const int32_t> lengths, int64_t capacity) {
  std::vector<int32_t> place(static_cast<size_t>(capacity) + 1);
  const auto slot = [&](int32_t length) { return static_cast<size_t>(capacity - length); };
  for (const int32_t length : lengths) {
    RONDO_CHECK(length >= 1 && length <= capacity, "a document of {} tokens for packs of {}",
                length, capacity);
    ++place[slot(length) + 1];
  }
  for (size_t i = 1; i < place.size(); ++i) place[i] += place[i - 1];
  std::vector<int32_t> order(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    order[static_cast<size_t>(place[slot(lengths[i])]++)] = static_cast<int32_t>(i);
  }
  place.pop_back();
  return {std::move(order), std::move(place)};
}

}  // namespace

PackPlan plan_packs(std::span<const int32_t> lengths, const PackLimits& limits, uint64_t seed) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  RONDO_CHECK(limits.capacity >= 1 && limits.capacity < kMost - 1 && limits.max_documents >= 0);
  RONDO_CHECK(static_cast<int64_t>(lengths.size()) < kMost);
  const Sorted sorted = longest_first(lengths, limits.capacity);

  Packs packs(limits);
  std::vector<int32_t> pack_of(lengths.size());  // by place in sorted.order
  size_t done = 0;
  for (size_t i = 0; i < sorted.ends.size(); ++i) {
    const auto length = static_cast<int32_t>(limits.capacity - static_cast<int64_t>(i));
    for (; done < static_cast<size_t>(sorted.ends[i]); ++done) pack_of[done] = packs.add(length);
  }

  const std::vector<int64_t> shuffled = base::Random(seed, "pack order").permutation(packs.size());
  PackPlan plan;
  plan.pack_offsets.reserve(shuffled.size() + 1);
  plan.pack_offsets.push_back(0);
  std::vector<int64_t> place(shuffled.size());
  for (const int64_t pack : shuffled) {
    place[static_cast<size_t>(pack)] = plan.pack_offsets.back();
    plan.pack_offsets.push_back(plan.pack_offsets.back() + packs.documents(pack));
  }
  plan.documents.resize(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    int64_t& at = place[static_cast<size_t>(pack_of[i])];
    plan.documents[static_cast<size_t>(at++)] = sorted.order[i];
  }
  return plan;
}

}  // namespace rondo::data
