// What is said of links and clocks, from made-up figures: who is named, and who is not.
#include "comm/selftest_links.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/same_values.hpp"

namespace rondo::comm {
namespace {

using base::Status;
using ::testing::HasSubstr;
using ::testing::Not;

// Hosts n1, n2, ... with so many ranks each.
Hosts made_hosts(int count, int ranks_each) {
  std::vector<std::string> names;
  for (int rank = 0; rank < count * ranks_each; ++rank) {
    names.push_back(fmt::format("n{}", rank / ranks_each + 1));
  }
  return hosts_of(names);
}

// Every pair of hosts, 1 GB/s and 10 us unless `change` says otherwise of the hosts' numbers.
template <class Change>
LinksMeasured made_links(const Hosts& hosts, const Change& change) {
  LinksMeasured measured;
  measured.clocks.resize(hosts.size());
  for (size_t a = 0; a < hosts.size(); ++a) {
    for (size_t b = a + 1; b < hosts.size(); ++b) {
      Link link{.a = hosts.ranks[a][0], .b = hosts.ranks[b][0], .figures = {1e-5, 1e9}};
      change(a + 1, b + 1, link.figures);
      measured.between.push_back(link);
    }
  }
  return measured;
}

// The findings of one check.
std::vector<base::Finding> found(const LinksMeasured& measured, const Hosts& hosts,
                                 const std::string& check) {
  std::vector<base::Finding> findings = judge_links(measured, hosts);
  std::erase_if(findings, [&](const base::Finding& finding) { return finding.check != check; });
  return findings;
}

const auto kSame = [](size_t, size_t, LinkFigures&) {};

TEST(Hosts, AreNumberedByTheirFirstRanks) {
  const Hosts hosts = hosts_of({"b", "a", "b", "b", "c"});
  EXPECT_EQ(hosts.names, (std::vector<std::string>{"b", "a", "c"}));
  EXPECT_EQ(hosts.ranks[0], (std::vector<int>{0, 2, 3}));
  EXPECT_EQ(hosts.local_rank(0), 0);
  EXPECT_EQ(hosts.local_rank(3), 2);
  EXPECT_EQ(hosts.local_rank(1), 0);
  EXPECT_EQ(hosts.name_of(4), "c");
}

TEST(DifferingText, NamesTheRanksOfEachValue) {
  EXPECT_EQ(differing_text({}), "");
  EXPECT_EQ(differing_text({"a", "a", "a"}), "");
  EXPECT_EQ(differing_text({"a", "b", "a"}), "ranks 0, 2 have a; rank 1 has b");
}

TEST(JudgeLinks, OneHostHasNothingToSay) {
  for (const int ranks : {1, 4}) {
    const Hosts hosts = made_hosts(1, ranks);
    const auto findings = judge_links(made_links(hosts, kSame), hosts);
    EXPECT_EQ(base::worst(findings), Status::kOk);
    EXPECT_EQ(found(made_links(hosts, kSame), hosts, "network")[0].text, "one host");
  }
}

TEST(JudgeLinks, OfTwoHostsEitherMayBeTheReason) {
  const Hosts hosts = made_hosts(2, 2);
  const auto slow = [](size_t, size_t, LinkFigures& figures) { figures.bytes_per_s = 1e5; };
  const auto findings = found(made_links(hosts, slow), hosts, "network");
  ASSERT_EQ(findings.size(), 1);
  EXPECT_EQ(findings[0].status, Status::kOk);
  EXPECT_THAT(findings[0].text, HasSubstr("100.0 kB/s each way"));
  EXPECT_THAT(findings[0].text, HasSubstr("either of n1 and n2 may be the reason"));
}

TEST(JudgeLinks, ASlowHostIsNamedAndFailsWhenItIsVerySlow) {
  const Hosts hosts = made_hosts(4, 2);
  for (const double speed : {5e8, 2e8}) {
    const auto slow = [&](size_t a, size_t b, LinkFigures& figures) {
      if (a == 3 || b == 3) figures.bytes_per_s = speed;
    };
    const auto findings = found(made_links(hosts, slow), hosts, "network");
    ASSERT_EQ(findings.size(), 1);
    EXPECT_EQ(findings[0].status, speed < 2.5e8 ? Status::kFailed : Status::kWarning);
    EXPECT_THAT(findings[0].text, HasSubstr("n3 is slow"));
    EXPECT_THAT(findings[0].text, HasSubstr("--exclude=n3"));
    EXPECT_THAT(findings[0].text, Not(HasSubstr("n1")));
  }
}

TEST(JudgeLinks, ASlowLinkNamesBothEndsAndFailsNothing) {
  const Hosts hosts = made_hosts(3, 1);
  const auto slow = [](size_t a, size_t b, LinkFigures& figures) {
    if (a == 1 && b == 3) figures.bytes_per_s = 1e7;
  };
  const auto findings = found(made_links(hosts, slow), hosts, "network");
  ASSERT_EQ(findings.size(), 1);
  EXPECT_EQ(findings[0].status, Status::kWarning);
  EXPECT_THAT(findings[0].text, HasSubstr("between n1 and n3 there is 1 % of what both reach"));
}

TEST(JudgeLinks, AHostThatAnswersLateIsNamed) {
  const Hosts hosts = made_hosts(3, 1);
  const auto late = [](size_t a, size_t b, LinkFigures& figures) {
    if (a == 2 || b == 2) figures.latency_s = 1e-4;
  };
  const auto findings = found(made_links(hosts, late), hosts, "network");
  ASSERT_EQ(findings.size(), 1);
  EXPECT_EQ(findings[0].status, Status::kWarning);
  EXPECT_THAT(findings[0].text, HasSubstr("n2 answers late: its lowest latency is 10.0 times"));
}

TEST(JudgeLinks, APairOfRanksThatIsSlowerThanTheOthersIsNamed) {
  const Hosts hosts = made_hosts(3, 2);
  LinksMeasured measured = made_links(hosts, kSame);
  measured.within = {{0, 1, {1e-6, 8e9}}, {2, 3, {1e-6, 8e9}}, {4, 5, {1e-6, 2e9}}};
  const auto findings = found(measured, hosts, "links within hosts");
  ASSERT_EQ(findings.size(), 1);
  EXPECT_EQ(findings[0].status, Status::kWarning);
  EXPECT_THAT(findings[0].text, HasSubstr("ranks 4 and 5 on n3 exchange 2.00 GB/s, 25 %"));
}

TEST(JudgeLinks, AClockIsNamedWhenItIsOffForCertain) {
  const Hosts hosts = made_hosts(3, 1);
  LinksMeasured measured = made_links(hosts, kSame);
  measured.clocks[1] = {.offset_s = 1.2, .error_s = 0.5};
  EXPECT_EQ(found(measured, hosts, "clocks")[0].status, Status::kOk);
  measured.clocks[2] = {.offset_s = -90, .error_s = 1e-4};
  const auto findings = found(measured, hosts, "clocks");
  ASSERT_EQ(findings.size(), 1);
  EXPECT_EQ(findings[0].status, Status::kWarning);
  EXPECT_THAT(findings[0].text, HasSubstr("the clock of n3 is 90.0 s behind that of n1"));
}

}  // namespace
}  // namespace rondo::comm
