// Links and clocks between real ranks; hosts are made up from their numbers.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.hpp"
#include "comm/selftest_links.hpp"
#include "support/world.hpp"

namespace rondo::comm {
namespace {

// So many ranks on each of the hosts a, b, ...
Hosts hosts_with(int size, int ranks_each) {
  std::vector<std::string> names;
  for (int rank = 0; rank < size; ++rank) {
    names.emplace_back(1, static_cast<char>('a' + rank / ranks_each));
  }
  return hosts_of(names);
}

TEST(MeasureLinks, EveryPairOfHostsIsMeasuredOnce) {
  const auto world = test::runtime().make_group();
  Control control = test::runtime().make_control();
  const int size = control.size();
  for (const int ranks_each : {1, 2, size}) {
    const Hosts hosts = hosts_with(size, ranks_each);
    const LinksMeasured measured = measure_links(hosts, control, *world, 0.5);
    EXPECT_EQ(measured.between.size(), hosts.size() * (hosts.size() - 1) / 2);
    size_t neighbours = 0;
    for (const auto& ranks : hosts.ranks) neighbours += ranks.size() / 2;
    EXPECT_EQ(measured.within.size(), neighbours);
    for (const auto* links : {&measured.within, &measured.between}) {
      for (const Link& link : *links) {
        EXPECT_LT(link.a, link.b);
        EXPECT_GT(link.figures.bytes_per_s, 0);
        EXPECT_GT(link.figures.latency_s, 0);
        EXPECT_EQ(hosts.name_of(link.a) == hosts.name_of(link.b), links == &measured.within);
      }
    }
    EXPECT_EQ(measured.collectives.size(), size == 1 ? 0 : 2);
    // One machine, one clock.
    ASSERT_EQ(measured.clocks.size(), hosts.size());
    for (const ClockOffset& clock : measured.clocks) {
      EXPECT_LE(std::abs(clock.offset_s), clock.error_s + 1e-4);
    }
    // All ranks know the same.
    control.same_on_all_ranks(to_json(measured, hosts)["between_hosts"].dump(), "the links");
    EXPECT_FALSE(judge_links(measured, hosts).empty());
  }
}

TEST(PointToPoint, APeerThatSaysNothingIsNamed) {
  Control control = test::runtime().make_control();
  if (control.size() < 2) return;
  const Hosts hosts = hosts_with(control.size(), 1);
  PointToPoint pairs(hosts, 0.2);
  if (control.rank() == 0) {
    try {
      pairs.measure(1, 0.1);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const base::SystemError& error) {
      EXPECT_TRUE(std::string(error.what())
                      .starts_with("rank 0 (a) has heard nothing from rank 1 (b) for 0 s."))
          << error.what();
    }
  }
  control.barrier();
}

}  // namespace
}  // namespace rondo::comm
