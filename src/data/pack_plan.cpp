#include "data/pack_plan.hpp"

#include <bit>
#include <limits>

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

// Open packs by the room they have left, last come first.
class OpenPacks {
 public:
  explicit OpenPacks(int64_t capacity)
      : first_(static_cast<size_t>(capacity) + 1, kNone), filled_(capacity + 1) {}

  // Takes out the fullest pack with room for `length`; sets its room. kNone: there is none.
  int32_t take(int32_t length, int32_t& room) {
    room = filled_.next(static_cast<size_t>(length));
    if (room == kNone) return kNone;
    const auto bucket = static_cast<size_t>(room);
    const int32_t pack = first_[bucket];
    first_[bucket] = next_[static_cast<size_t>(pack)];
    if (first_[bucket] == kNone) filled_.erase(bucket);
    return pack;
  }
  int32_t make() {
    next_.push_back(kNone);
    return static_cast<int32_t>(next_.size()) - 1;
  }
  void put(int32_t pack, int32_t room) {
    const auto bucket = static_cast<size_t>(room);
    if (first_[bucket] == kNone) filled_.insert(bucket);
    next_[static_cast<size_t>(pack)] = first_[bucket];
    first_[bucket] = pack;
  }

 private:
  std::vector<int32_t> first_;  // by room: a pack, or kNone
  std::vector<int32_t> next_;   // by pack: the next one with the same room
  BitSet filled_;
};

// Document indices, longest first, by counting sort.
std::vector<int32_t> longest_first(std::span<const int32_t> lengths, int64_t capacity) {
  std::vector<int32_t> place(static_cast<size_t>(capacity) + 2);
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
  return order;
}

}  // namespace

PackPlan plan_packs(std::span<const int32_t> lengths, const PackLimits& limits, uint64_t seed) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  RONDO_CHECK(limits.capacity >= 1 && limits.capacity < kMost - 1 && limits.max_documents >= 0);
  RONDO_CHECK(static_cast<int64_t>(lengths.size()) < kMost);
  const std::vector<int32_t> order = longest_first(lengths, limits.capacity);

  OpenPacks open(limits.capacity);
  std::vector<int32_t> held;  // by pack: its documents
  std::vector<int32_t> pack_of(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const int32_t length = lengths[static_cast<size_t>(order[i])];
    int32_t room = 0;
    int32_t pack = open.take(length, room);
    if (pack == kNone) {
      pack = open.make();
      held.push_back(0);
      room = static_cast<int32_t>(limits.capacity);
    }
    pack_of[i] = pack;
    const int32_t count = ++held[static_cast<size_t>(pack)];
    const bool closed = limits.max_documents > 0 && count >= limits.max_documents;
    if (room > length && !closed) open.put(pack, room - length);
  }

  const std::vector<int64_t> shuffled =
      base::Random(seed, "pack order").permutation(static_cast<int64_t>(held.size()));
  PackPlan plan;
  plan.pack_offsets.reserve(held.size() + 1);
  plan.pack_offsets.push_back(0);
  std::vector<int64_t> place(held.size());
  for (const int64_t pack : shuffled) {
    place[static_cast<size_t>(pack)] = plan.pack_offsets.back();
    plan.pack_offsets.push_back(plan.pack_offsets.back() + held[static_cast<size_t>(pack)]);
  }
  plan.documents.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    int64_t& at = place[static_cast<size_t>(pack_of[i])];
    plan.documents[static_cast<size_t>(at++)] = order[i];
  }
  return plan;
}

}  // namespace rondo::data
