#include "data/step_order.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/random.hpp"
#include "base/slice.hpp"

namespace rondo::data {

namespace {

struct Lane {
  std::vector<int64_t> packs;
  double cost = 0;
};

double cost_of(int64_t pack, std::span<const double> costs) {
  return pack < 0 ? 0 : costs[static_cast<size_t>(pack)];
}

// The dearest pack first, to the cheapest lane that still has room (R. L. Graham, "Bounds on
// multiprocessing timing anomalies", 1969, with lanes of equal numbers); equal lanes: the first.
std::vector<Lane> deal(std::vector<int64_t> packs, std::span<const double> costs, int64_t lanes) {
  std::ranges::stable_sort(packs, std::greater{}, [&](int64_t pack) {
    return pack < 0 ? -1.0 : costs[static_cast<size_t>(pack)];  // empty ones last
  });
  const size_t room = packs.size() / static_cast<size_t>(lanes);
  std::vector<Lane> dealt(static_cast<size_t>(lanes));
  for (const int64_t pack : packs) {
    Lane* cheapest = nullptr;
    for (Lane& lane : dealt) {
      const bool takes = lane.packs.size() < room;
      if (takes && (cheapest == nullptr || lane.cost < cheapest->cost)) cheapest = &lane;
    }
    cheapest->packs.push_back(pack);
    cheapest->cost += cost_of(pack, costs);
  }
  return dealt;
}

// Swaps a pack of the dearest lane with one of the cheapest while that brings the two nearer to
// each other.
void even_out(std::vector<Lane>& lanes, std::span<const double> costs) {
  const auto by_cost = [](const Lane& a, const Lane& b) { return a.cost < b.cost; };
  for (size_t round = 0; round < 4 * lanes.size(); ++round) {
    Lane& low = *std::ranges::min_element(lanes, by_cost);
    Lane& high = *std::ranges::max_element(lanes, by_cost);
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
  for (size_t begin = 0; begin < places.size(); begin += step) {
    const auto first = places.begin() + static_cast<ptrdiff_t>(begin);
    std::vector<Lane> lanes =
        deal({first, first + static_cast<ptrdiff_t>(step)}, costs, order.lanes);
    even_out(lanes, costs);
    auto place = first;
    for (Lane& lane : lanes) {
      std::ranges::stable_sort(lane.packs, std::greater{}, [&](int64_t pack) {
        return pack < 0 ? -1.0 : costs[static_cast<size_t>(pack)];
      });
      place = std::ranges::copy(lane.packs, place).out;
    }
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
