#include "parallel/copies.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <bit>
#include <map>
#include <string_view>
#include <vector>

#include "base/hash.hpp"

namespace rondo::parallel {

namespace {

// Collective over the group. The first of `segments` that a rank of the group holds otherwise.
std::string compare(const Unit& unit, const std::vector<const OwnedSegment*>& segments,
                    comm::Group& group) {
  if (group.size() == 1) return {};
  const auto count = std::ssize(segments);
  const at::Tensor mine = at::zeros({count}, at::kLong);
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor weights = unit.owned_weights(*segments[static_cast<size_t>(i)]).cpu();
    const std::string_view bytes(static_cast<const char*>(weights.const_data_ptr()),
                                 static_cast<size_t>(weights.nbytes()));
    mine.mutable_data_ptr<int64_t>()[i] = std::bit_cast<int64_t>(base::hash64(bytes, 0));
  }
  const at::Tensor all = at::empty({group.size(), count}, at::kLong);
  group.all_gather(all, mine, comm::Purpose::kControl).wait();
  for (int rank = 0; rank < group.size(); ++rank) {
    for (int64_t i = 0; i < count; ++i) {
      if (all[rank][i].item<int64_t>() == mine[i].item<int64_t>()) continue;
      const OwnedSegment& segment = *segments[static_cast<size_t>(i)];
      return fmt::format("{}: rank {} of group {} holds other weights than rank {}",
                         unit.parameters()[segment.parameter].name, rank, group.name(),
                         group.rank());
    }
  }
  return {};
}

}  // namespace

std::string differing_copy(const Unit& unit) {
  std::vector<const OwnedSegment*> all;
  std::map<int, std::vector<const OwnedSegment*>> shared;  // by number of different slices
  for (const OwnedSegment& segment : unit.layout().segments()) {
    all.push_back(&segment);
    const LocalPart& local = unit.layout().local(segment.parameter);
    if (local.copies > 1) shared[local.parts].push_back(&segment);
  }
  std::string found = compare(unit, all, unit.mesh().replicate());
  for (const auto& [parts, segments] : shared) {
    const std::string text = compare(unit, segments, unit.mesh().copies(parts));
    if (found.empty()) found = text;
  }
  return found;
}

}  // namespace rondo::parallel
