#include "parallel/prefetch.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace rondo::parallel {

namespace {

// One gather that is late does not leave the network idle.
constexpr size_t kAheadInPlace = 2;

}  // namespace

bool Prefetch::used_at(size_t unit, size_t use) const {
  return use < uses_.size() && std::ranges::find(uses_[use], unit) != uses_[use].end();
}

// Units needed again in the next use or the one after stay.
void Prefetch::release_after(size_t use) {
  for (const size_t unit : uses_[use]) {
    if (!used_at(unit, use + 1) && !used_at(unit, use + 2)) units_[unit].release();
  }
}

void Prefetch::next() {
  RONDO_CHECK(begun_ < uses_.size());
  if (begun_ > 0) release_after(begun_ - 1);
  for (const size_t unit : uses_[begun_]) units_[unit].finish_gather();
  ++begun_;
  const size_t ahead = units_[0].settings().transient_weights() ? 1 : kAheadInPlace;
  for (size_t use = begun_; use < std::min(begun_ + ahead, uses_.size()); ++use) {
    for (const size_t unit : uses_[use]) units_[unit].start_gather();
  }
}

void Prefetch::finish() {
  RONDO_CHECK(begun_ == uses_.size(), "{} of {} uses were made", begun_, uses_.size());
  release_after(begun_ - 1);
}

}  // namespace rondo::parallel
