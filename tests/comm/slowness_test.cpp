// The slow one is found from made-up speeds, and nobody is blamed where nothing tells.
#include "comm/slowness.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace rondo::comm {
namespace {

TEST(Median, IsTheMiddle) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1}), 5);
  EXPECT_EQ(median({9, 1, 2}), 2);
  EXPECT_EQ(median({4, 9, 1, 2}), 3);
}

TEST(SlowerThanOthers, NamesTheSlowestFirst) {
  EXPECT_TRUE(slower_than_others({}, 0.75).empty());
  EXPECT_TRUE(slower_than_others({1}, 0.75).empty());
  EXPECT_TRUE(slower_than_others({10, 8, 9}, 0.75).empty());
  const auto two = slower_than_others({10, 7}, 0.75);
  ASSERT_EQ(two.size(), 1);
  EXPECT_EQ(two[0].index, 1);
  EXPECT_DOUBLE_EQ(two[0].share, 0.7);
  const auto four = slower_than_others({10, 6, 10, 10, 3}, 0.75);
  ASSERT_EQ(four.size(), 2);
  EXPECT_EQ(four[0].index, 4);
  EXPECT_EQ(four[1].index, 1);
}

TEST(Tournament, EveryPairMeetsOnce) {
  EXPECT_TRUE(tournament(0).empty());
  EXPECT_TRUE(tournament(1).empty());
  for (size_t players = 2; players <= 17; ++players) {
    const auto rounds = tournament(players);
    EXPECT_EQ(rounds.size(), players % 2 == 0 ? players - 1 : players);
    std::set<std::pair<size_t, size_t>> met;
    for (const auto& round : rounds) {
      EXPECT_EQ(round.size(), players / 2);
      std::set<size_t> busy;
      for (const Pair& pair : round) {
        EXPECT_LT(pair.a, pair.b);
        EXPECT_LT(pair.b, players);
        EXPECT_TRUE(busy.insert(pair.a).second && busy.insert(pair.b).second);
        EXPECT_TRUE(met.emplace(pair.a, pair.b).second);
      }
    }
    EXPECT_EQ(met.size(), players * (players - 1) / 2);
  }
}

TEST(Tournament, APartOfItIsSpread) {
  EXPECT_EQ(spread_rounds(tournament(8), 7).size(), 7);
  EXPECT_EQ(spread_rounds(tournament(8), 100).size(), 7);
  const auto rounds = spread_rounds(tournament(100), 9);
  ASSERT_EQ(rounds.size(), 9);
  EXPECT_EQ(rounds[1].front().a, tournament(100)[11].front().a);
}

// Every pair of hosts; speed 10 unless `speed` says otherwise.
template <class Speed>
std::vector<LinkSpeed> all_links(size_t hosts, const Speed& speed) {
  std::vector<LinkSpeed> links;
  for (size_t a = 0; a < hosts; ++a) {
    for (size_t b = a + 1; b < hosts; ++b) links.push_back({a, b, speed(a, b)});
  }
  return links;
}

TEST(FindSlow, OneHostHasNoLinks) {
  const SlowHosts found = find_slow(1, {}, 0.6);
  EXPECT_FALSE(found.comparable);
  EXPECT_TRUE(found.hosts.empty() && found.links.empty());
}

TEST(FindSlow, OfTwoHostsNothingTells) {
  const SlowHosts found = find_slow(2, {{0, 1, 1}}, 0.6);
  EXPECT_FALSE(found.comparable);
  EXPECT_TRUE(found.hosts.empty() && found.links.empty());
}

TEST(FindSlow, EquallyFastOnesAreFine) {
  for (size_t hosts = 3; hosts <= 6; ++hosts) {
    const SlowHosts found =
        find_slow(hosts, all_links(hosts, [](auto, auto) { return 10.0; }), 0.6);
    EXPECT_TRUE(found.comparable);
    EXPECT_TRUE(found.hosts.empty() && found.links.empty());
  }
}

TEST(FindSlow, ASlowHostIsNamed) {
  for (size_t hosts = 3; hosts <= 6; ++hosts) {
    for (size_t slow = 0; slow < hosts; ++slow) {
      const auto speed = [&](size_t a, size_t b) { return a == slow || b == slow ? 2.0 : 10.0; };
      const SlowHosts found = find_slow(hosts, all_links(hosts, speed), 0.6);
      ASSERT_EQ(found.hosts.size(), 1);
      EXPECT_EQ(found.hosts[0].index, slow);
      EXPECT_DOUBLE_EQ(found.hosts[0].share, 0.2);
      EXPECT_TRUE(found.links.empty());
    }
  }
}

TEST(FindSlow, ASlowLinkIsNotASlowHost) {
  for (size_t hosts = 3; hosts <= 6; ++hosts) {
    const auto speed = [](size_t a, size_t b) { return a == 0 && b == 2 ? 2.0 : 10.0; };
    const SlowHosts found = find_slow(hosts, all_links(hosts, speed), 0.6);
    EXPECT_TRUE(found.hosts.empty());
    ASSERT_EQ(found.links.size(), 1);
    EXPECT_EQ(found.links[0].a, 0);
    EXPECT_EQ(found.links[0].b, 2);
    EXPECT_DOUBLE_EQ(found.links[0].share, 0.2);
  }
}

TEST(FindSlow, TwoSlowHostsOfFour) {
  const auto speed = [](size_t a, size_t b) { return a < 1 || b < 2 ? 2.0 : a < 2 ? 3.0 : 10.0; };
  const SlowHosts found = find_slow(4, all_links(4, speed), 0.6);
  ASSERT_EQ(found.hosts.size(), 2);
  EXPECT_EQ(found.hosts[0].index, 0);
  EXPECT_EQ(found.hosts[1].index, 1);
  EXPECT_TRUE(found.links.empty());
}

// Two switches with a thin line between them: each host has a fast link, so none is slow.
TEST(FindSlow, LinksBetweenIslandsAreSlowNotTheirHosts) {
  const auto speed = [](size_t a, size_t b) { return a / 2 == b / 2 ? 10.0 : 4.0; };
  const SlowHosts found = find_slow(4, all_links(4, speed), 0.6);
  EXPECT_TRUE(found.hosts.empty());
  EXPECT_EQ(found.links.size(), 4);
}

TEST(FindSlow, HostsWithoutALinkDoNotCount) {
  EXPECT_FALSE(find_slow(5, {{1, 3, 10}}, 0.6).comparable);
  const SlowHosts found = find_slow(5, {{1, 3, 10}, {3, 4, 10}}, 0.6);
  EXPECT_TRUE(found.comparable);
  EXPECT_TRUE(found.hosts.empty());
}

}  // namespace
}  // namespace rondo::comm
