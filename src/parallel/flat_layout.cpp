#include "parallel/flat_layout.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace rondo::parallel {

namespace {

constexpr int64_t kParameterAlignment = 128;  // elements: 512 bytes
constexpr int64_t kPartAlignment = 128;       // elements of one part of a bucket

}  // namespace

FlatLayout::FlatLayout(std::vector<Parameter> parameters, Place tensor, Place shard,
                       BucketSize bucket)
    : parameters_(std::move(parameters)), shard_(shard), parts_(bucket.parts) {
  RONDO_CHECK(!parameters_.empty() && bucket.elements >= 1);
  RONDO_CHECK(parts_ >= 1 && parts_ % shard.size == 0, "{} parts over {} ranks", parts_,
              shard.size);
  int64_t end = 0;
  for (const Parameter& parameter : parameters_) {
    locals_.push_back(local_part(parameter, tensor));
    if (!parameter.joined) end = base::round_up(end, kParameterAlignment);
    offsets_.push_back(end);
    end += locals_.back().numel();
  }
  const int64_t quantum = parts_ * kPartAlignment;
  const int64_t total = base::round_up(end, quantum);
  const int64_t size = base::round_up(bucket.elements, quantum);
  for (int64_t begin = 0; begin < total; begin += size) {
    buckets_.push_back({begin, std::min(begin + size, total)});
  }
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const base::Slice owned = owned_range(b);
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const base::Slice mine =
          base::intersect(owned, {offsets_[i], offsets_[i] + locals_[i].numel()});
      if (mine.empty()) continue;
      const int64_t in_bucket = mine.begin - owned.begin;
      segments_.push_back({.parameter = i,
                           .local = {mine.begin - offsets_[i], mine.end - offsets_[i]},
                           .bucket = b,
                           .bucket_offset = in_bucket,
                           .shard_offset = shard_offset(b) + in_bucket});
    }
  }
}

base::Slice FlatLayout::owned_range(size_t b) const {
  const base::Slice bucket = buckets_[b];
  const int64_t part = bucket.size() / shard_.size;
  const int64_t begin = bucket.begin + shard_.rank * part;
  return {begin, begin + part};
}

}  // namespace rondo::parallel
