#include "train/averaging.hpp"

#include <ATen/ATen.h>

#include "parallel/owned_on_host.hpp"

namespace rondo::train {

namespace {

// What this rank owns of a unit, one segment after another; views.
std::vector<at::Tensor> segments_of(const parallel::Unit& unit, const parallel::OwnedOnHost& host) {
  std::vector<at::Tensor> segments;
  for (const parallel::OwnedSegment& segment : unit.layout().segments()) {
    segments.push_back(at::from_blob(host.weights(segment), {segment.local.size()}, at::kFloat));
  }
  return segments;
}

void average_unit(const std::vector<Member>& members, double sum, parallel::Unit& unit) {
  std::vector<at::Tensor> totals;
  for (const Member& member : members) {
    member.source->read(unit);
    parallel::OwnedOnHost host(unit, false);
    host.read();
    const auto segments = segments_of(unit, host);
    for (size_t k = 0; k < segments.size(); ++k) {
      // Product and sum by themselves: joined in one operation they would round once less.
      const at::Tensor weighted = segments[k].to(at::kDouble).mul_(member.weight);
      if (k == totals.size()) {
        totals.push_back(weighted);
      } else {
        totals[k].add_(weighted);
      }
    }
  }
  unit.end_gather();
  parallel::OwnedOnHost host(unit, false);
  const auto segments = segments_of(unit, host);
  for (size_t k = 0; k < segments.size(); ++k) segments[k].copy_(totals[k].div_(sum));
  host.write();
  unit.mark_changed();
}

}  // namespace

void load_average(const std::vector<Member>& members, model::Model& model, comm::Control& control,
                  base::Console& console) {
  double sum = 0;
  for (const Member& member : members) sum += member.weight;
  control.agree([&] {
    for (size_t u = 0; u < model.unit_count(); ++u) average_unit(members, sum, model.unit(u));
  });
  for (const Member& member : members) member.source->finish(control, console);
  model.gather_weights();
}

}  // namespace rondo::train
