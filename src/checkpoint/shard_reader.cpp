#include "checkpoint/shard_reader.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace rondo::checkpoint {

namespace {

constexpr size_t kOpenFiles = 64;
// Neighbouring runs of a file with no more between them are read at once; the most of one read.
constexpr int64_t kGapBytes = int64_t{16} << 10;
constexpr int64_t kWindowBytes = int64_t{4} << 20;

}  // namespace

ShardReader::ShardReader(std::string folder, const Manifest& manifest)
    : folder_(std::move(folder)), manifest_(manifest), of_tensor_(manifest.tensors.size()) {
  for (size_t s = 0; s < manifest.shards.size(); ++s) {
    for (const Segment& segment : manifest.shards[s].segments) {
      Locations& locations = of_tensor_[segment.tensor];
      locations.by_begin.push_back({s, segment});
      locations.longest =
          std::max(locations.longest, segment.elements.end() - segment.elements.begin);
    }
  }
  for (Locations& locations : of_tensor_) {
    std::ranges::sort(locations.by_begin, {},
                      [](const Location& location) { return location.segment.elements.begin; });
  }
}

void ShardReader::read(size_t tensor, base::Strided elements, float* out, int64_t out_stride) {
  std::vector<Extent> extents;
  for (int64_t k = 0; k < elements.count; ++k) {
    find_extents(of_tensor_[tensor], elements.run(k), out + k * out_stride, extents);
  }
  read_extents(extents);
}

// Adds the extents of elements [wanted) of a tensor.
void ShardReader::find_extents(const Locations& locations, base::Slice wanted, float* out,
                               std::vector<Extent>& extents) {
  const auto& all = locations.by_begin;
  auto location = std::lower_bound(all.begin(), all.end(), wanted.begin - locations.longest,
                                   [](const Location& other, int64_t element) {
                                     return other.segment.elements.begin < element;
                                   });
  for (; location != all.end() && location->segment.elements.begin < wanted.end; ++location) {
    const base::Strided& stored = location->segment.elements;
    int64_t first = 0;
    int64_t last = stored.count;
    if (stored.count > 1) {
      const int64_t before = wanted.begin - stored.begin - stored.length;
      first = before < 0 ? 0 : before / stored.stride;
      last = std::min(last, base::ceil_div(wanted.end - stored.begin, stored.stride));
    }
    for (int64_t k = first; k < last; ++k) {
      const base::Slice run = stored.run(k);
      const base::Slice here = base::intersect(run, wanted);
      if (here.empty()) continue;
      extents.push_back({location->shard,
                         location->segment.offset + k * stored.length + here.begin - run.begin,
                         here.size(), out + (here.begin - wanted.begin)});
    }
  }
}

void ShardReader::read_extents(std::vector<Extent>& extents) {
  std::ranges::sort(extents, [](const Extent& a, const Extent& b) {
    return a.shard != b.shard ? a.shard < b.shard : a.offset < b.offset;
  });
  for (size_t i = 0; i < extents.size();) {
    const Extent& first = extents[i];
    size_t next = i + 1;
    int64_t end = first.offset + first.count;
    while (next < extents.size() && extents[next].shard == first.shard &&
           4 * (extents[next].offset - end) <= kGapBytes &&
           4 * (extents[next].offset + extents[next].count - first.offset) <= kWindowBytes) {
      end = extents[next].offset + extents[next].count;
      ++next;
    }
    const base::File& file = shard(first.shard);
    const int64_t at = manifest_.shards[first.shard].data_at + 4 * first.offset;
    if (next == i + 1) {
      const std::span<float> out(first.out, static_cast<size_t>(first.count));
      file.read_at(at, std::as_writable_bytes(out));
    } else {
      window_.resize(static_cast<size_t>(end - first.offset));
      file.read_at(at, std::as_writable_bytes(std::span(window_)));
      for (size_t k = i; k < next; ++k) {
        std::copy_n(window_.data() + (extents[k].offset - first.offset), extents[k].count,
                    extents[k].out);
      }
    }
    i = next;
  }
}

const base::File& ShardReader::shard(size_t number) {
  if (const auto found = open_.find(number); found != open_.end()) return found->second;
  if (open_.size() >= kOpenFiles) open_.clear();
  return open_.emplace(number, base::File::open_read(folder_ + "/" + manifest_.shards[number].file))
      .first->second;
}

}  // namespace rondo::checkpoint
