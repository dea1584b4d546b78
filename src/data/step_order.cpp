#include "data/step_order.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/random.hpp"
#include "base/slice.hpp"

namespace rondo::data {

namespace {

// Of a number above 1.
int64_t least_factor(int64_t number) {
  int64_t factor = 2;
  while (number % factor != 0) ++factor;
  return factor;
}

using Packs = std::vector<int64_t>;

struct Group {
  Packs packs;
  double cost = 0;
};

double cost_of(int64_t pack, std::span<const double> costs) {
  return pack < 0 ? 0 : costs[static_cast<size_t>(pack)];
}

// The dearest pack first, to the cheapest group that still has room (R. L. Graham, "Bounds on
// multiprocessing timing anomalies", 1969, with groups of equal numbers); equal groups: the first.
std::vector<Group> deal(Packs packs, std::span<const double> costs, int64_t count) {
  std::ranges::stable_sort(packs, std::greater{}, [&](int64_t pack) {
    return pack < 0 ? -1.0 : costs[static_cast<size_t>(pack)];  // empty ones last
  });
  const size_t room = packs.size() / static_cast<size_t>(count);
  std::vector<Group> groups(static_cast<size_t>(count));
  for (const int64_t pack : packs) {
    Group* cheapest = nullptr;
    for (Group& group : groups) {
      const bool takes = group.packs.size() < room;
      if (takes && (cheapest == nullptr || group.cost < cheapest->cost)) cheapest = &group;
    }
    cheapest->packs.push_back(pack);
    cheapest->cost += cost_of(pack, costs);
  }
  return groups;
}

// Swaps a pack of the dearest group with one of the cheapest while that brings the two nearer to
// each other.
void even_out(std::vector<Group>& groups, std::span<const double> costs) {
  const auto by_cost = [](const Group& a, const Group& b) { return a.cost < b.cost; };
  for (size_t round = 0; round < 4 * groups.size(); ++round) {
    Group& low = *std::ranges::min_element(groups, by_cost);
    Group& high = *std::ranges::max_element(groups, by_cost);
    const double gap = high.cost - low.cost;
    double best = gap;
    std::pair<size_t, size_t> swap;
    for (size_t i = 0; i < high.packs.size(); ++i) {
      for (size_t j = 0; j < low.packs.size(); ++j) {
        const double moved = cost_of(high.packs[i], costs) - cost_of(low.packs[j], costs);
        const double left = std::abs(gap - 2 * moved);
        if (left < best) {
          best = left;
          swap = {i, j};
        }
      }
    }
    if (!(best < gap * 0.999)) return;
    const double moved =
        cost_of(high.packs[swap.first], costs) - cost_of(low.packs[swap.second], costs);
    std::swap(high.packs[swap.first], low.packs[swap.second]);
    high.cost -= moved;
    low.cost += moved;
  }
}

// Deals packs to `count` neighbouring groups, and each of these again by the prime factors of what
// it holds, so that neighbouring parts of any size made of these factors cost alike.
void arrange(std::span<int64_t> packs, int64_t count, std::span<const double> costs) {
  if (count <= 1 || packs.size() <= 1) return;
  std::vector<Group> groups = deal({packs.begin(), packs.end()}, costs, count);
  even_out(groups, costs);
  const size_t size = groups[0].packs.size();
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::span<int64_t> part = packs.subspan(g * size, size);
    std::ranges::copy(groups[g].packs, part.begin());
    if (size > 1) arrange(part, least_factor(static_cast<int64_t>(size)), costs);
  }
}

}  // namespace

int64_t lanes_of(int64_t packs_per_step, int64_t wanted) {
  RONDO_CHECK(packs_per_step >= 1 && wanted >= 1 && (wanted & (wanted - 1)) == 0);
  int64_t lanes = wanted;
  while (packs_per_step % lanes != 0) lanes /= 2;
  return lanes;
}

std::vector<int64_t> seeded_order(const StepOrder& order, int64_t packs, int64_t epoch) {
  const int64_t steps = base::ceil_div(packs, order.packs_per_step);
  std::vector<int64_t> places =
      base::Random(order.seed, fmt::format("epoch {} of {}", epoch, order.plan_hash))
          .permutation(packs);
  places.resize(static_cast<size_t>(steps * order.packs_per_step), -1);
  return places;
}

std::vector<int64_t> order_of_epoch(const StepOrder& order, std::span<const double> costs,
                                    int64_t epoch) {
  RONDO_CHECK(order.lanes >= 1 && order.packs_per_step % order.lanes == 0);
  std::vector<int64_t> places = seeded_order(order, std::ssize(costs), epoch);
  const auto step = static_cast<size_t>(order.packs_per_step);
  const bool parts = order.lanes == 1 && order.packs_per_step > 1;
  // Without lanes, the least factor of the step takes their place.
  const int64_t first = parts ? least_factor(order.packs_per_step) : order.lanes;
  for (size_t begin = 0; begin < places.size(); begin += step) {
    arrange(std::span(places).subspan(begin, step), first, costs);
  }
  return places;
}

Imbalance imbalance_of(std::span<const int64_t> places, std::span<const double> costs,
                       int64_t packs_per_step, int64_t lanes) {
  Imbalance result{0, 0};
  int64_t steps = 0;
  const auto step = static_cast<size_t>(packs_per_step);
  const size_t per_lane = step / static_cast<size_t>(lanes);
  for (size_t begin = 0; begin + step <= places.size(); begin += step) {
    if (std::ranges::count(places.subspan(begin, step), -1) > 0) continue;  // the short last step
    double most = 0;
    double sum = 0;
    for (size_t lane = 0; lane < static_cast<size_t>(lanes); ++lane) {
      double cost = 0;
      for (const int64_t pack : places.subspan(begin + lane * per_lane, per_lane)) {
        cost += cost_of(pack, costs);
      }
      most = std::max(most, cost);
      sum += cost;
    }
    const double over = most * static_cast<double>(lanes) / sum;
    result.mean += over;
    result.worst = std::max(result.worst, over);
    ++steps;
  }
  if (steps == 0) return {};
  result.mean /= static_cast<double>(steps);
  return result;
}

}  // namespace rondo::data
