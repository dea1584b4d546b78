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

// The pack of `packs`, dearest first, whose cost is nearest to `wanted`.
size_t nearest(const Packs& packs, std::span<const double> costs, double wanted) {
  const auto cost = [&](int64_t pack) { return cost_of(pack, costs); };
  const auto after = std::ranges::lower_bound(packs, wanted, std::greater{}, cost);
  if (after == packs.begin()) return 0;
  const auto before = after - 1;
  const bool next = after != packs.end() && wanted - cost(*after) < cost(*before) - wanted;
  return static_cast<size_t>((next ? after : before) - packs.begin());
}

// Takes a pack out of a group, dearest first, and puts another in.
void replace(Group& group, size_t at, int64_t pack, std::span<const double> costs) {
  group.cost += cost_of(pack, costs) - cost_of(group.packs[at], costs);
  group.packs.erase(group.packs.begin() + static_cast<ptrdiff_t>(at));
  const auto place = std::ranges::upper_bound(group.packs, cost_of(pack, costs), std::greater{},
                                              [&](int64_t other) { return cost_of(other, costs); });
  group.packs.insert(place, pack);
}

// Swaps a pack of the dearest group with one of the cheapest while that brings the two nearer to
// each other. The groups hold their packs dearest first.
void even_out(std::vector<Group>& groups, std::span<const double> costs) {
  const auto by_cost = [](const Group& a, const Group& b) { return a.cost < b.cost; };
  for (size_t round = 0; round < 4 * groups.size(); ++round) {
    Group& low = *std::ranges::min_element(groups, by_cost);
    Group& high = *std::ranges::max_element(groups, by_cost);
    const double gap = high.cost - low.cost;
    double best = gap;
    std::pair<size_t, size_t> swap;
    for (size_t i = 0; i < high.packs.size(); ++i) {
      const double cost = cost_of(high.packs[i], costs);
      const size_t j = nearest(low.packs, costs, cost - gap / 2);
      const double left = std::abs(gap - 2 * (cost - cost_of(low.packs[j], costs)));
      if (left < best) {
        best = left;
        swap = {i, j};
      }
    }
    if (!(best < gap * 0.999)) return;
    const int64_t down = high.packs[swap.first];
    const int64_t up = low.packs[swap.second];
    replace(high, swap.first, up, costs);
    replace(low, swap.second, down, costs);
  }
}

// Splits packs into neighbouring groups by the least factor of their number, and each group again.
void arrange(std::span<int64_t> packs, std::span<const double> costs) {
  if (packs.size() <= 1) return;
  std::vector<Group> groups =
      deal({packs.begin(), packs.end()}, costs, least_factor(std::ssize(packs)));
  even_out(groups, costs);
  const size_t size = groups[0].packs.size();
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::span<int64_t> part = packs.subspan(g * size, size);
    std::ranges::copy(groups[g].packs, part.begin());
    arrange(part, costs);
  }
}

}  // namespace

std::vector<double> attention_costs(const PackPlan& plan, std::span<const int32_t> lengths) {
  std::vector<double> costs;
  for (int64_t p = 0; p < plan.packs(); ++p) {
    double cost = 0;
    for (int64_t i = plan.pack_offsets[static_cast<size_t>(p)];
         i < plan.pack_offsets[static_cast<size_t>(p) + 1]; ++i) {
      const auto document = static_cast<size_t>(plan.documents[static_cast<size_t>(i)]);
      cost += attention_cost(lengths[document]);
    }
    costs.push_back(cost);
  }
  return costs;
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
  std::vector<int64_t> places = seeded_order(order, std::ssize(costs), epoch);
  const auto step = static_cast<size_t>(order.packs_per_step);
  for (size_t begin = 0; begin < places.size(); begin += step) {
    arrange(std::span(places).subspan(begin, step), costs);
  }
  return places;
}

Imbalance imbalance_of(std::span<const int64_t> places, std::span<const double> costs,
                       int64_t packs_per_step, int64_t parts) {
  Imbalance result{0, 0};
  int64_t steps = 0;
  const auto step = static_cast<size_t>(packs_per_step);
  const size_t per_part = step / static_cast<size_t>(parts);
  for (size_t begin = 0; begin + step <= places.size(); begin += step) {
    if (std::ranges::count(places.subspan(begin, step), -1) > 0) continue;  // the short last step
    double most = 0;
    double sum = 0;
    for (size_t part = 0; part < static_cast<size_t>(parts); ++part) {
      double cost = 0;
      for (const int64_t pack : places.subspan(begin + part * per_part, per_part)) {
        cost += cost_of(pack, costs);
      }
      most = std::max(most, cost);
      sum += cost;
    }
    const double over = most * static_cast<double>(parts) / sum;
    result.mean += over;
    result.worst = std::max(result.worst, over);
    ++steps;
  }
  if (steps == 0) return {};
  result.mean /= static_cast<double>(steps);
  return result;
}

}  // namespace rondo::data
