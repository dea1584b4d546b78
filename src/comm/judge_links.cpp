// Findings from what was measured of links and clocks.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.hpp"
#include "comm/selftest_links.hpp"
#include "comm/slowness.hpp"

namespace rondo::comm {

namespace {

using base::Finding;
using base::Status;

// Shares of the others' speed below which a finding warns or fails.
constexpr double kSlowShare = 2.0 / 3;
constexpr double kBrokenShare = 1.0 / 4;
constexpr double kSlowLatencyShare = 1.0 / 3;
constexpr double kMostClockSeconds = 1;

std::string figures_text(const std::vector<Link>& links) {
  std::vector<double> rates, latencies;
  for (const Link& link : links) {
    rates.push_back(link.figures.bytes_per_s);
    latencies.push_back(link.figures.latency_s);
  }
  return fmt::format("{} pair{}: {} each way, {} (medians); the slowest {}", links.size(),
                     links.size() == 1 ? "" : "s", base::format_rate(median(rates)),
                     base::format_short(median(latencies)),
                     base::format_rate(*std::ranges::min_element(rates)));
}

double percent(double share) { return 100 * share; }

void judge_within(const std::vector<Link>& links, const Hosts& hosts,
                  std::vector<Finding>& findings) {
  const std::string check = "links within hosts";
  if (links.empty()) {
    findings.push_back({check, Status::kOk, "no host has two ranks"});
    return;
  }
  std::vector<double> speeds;
  for (const Link& link : links) speeds.push_back(link.figures.bytes_per_s);
  const auto slow = slower_than_others(speeds, kSlowShare);
  for (const SlowPart& part : slow) {
    const Link& link = links[part.index];
    findings.push_back(
        {check, Status::kWarning,
         fmt::format("ranks {} and {} on {} exchange {}, {:.0f} % of the others' median: look what "
                     "else runs on {}, and at the binding of its ranks",
                     link.a, link.b, hosts.name_of(link.a), base::format_rate(speeds[part.index]),
                     percent(part.share), hosts.name_of(link.a))});
  }
  if (slow.empty()) findings.push_back({check, Status::kOk, figures_text(links)});
}

void judge_between(const std::vector<Link>& links, const Hosts& hosts,
                   std::vector<Finding>& findings) {
  const std::string check = "network";
  if (hosts.size() == 1) {
    findings.push_back({check, Status::kOk, "one host"});
    return;
  }
  if (hosts.size() == 2) {
    findings.push_back(
        {check, Status::kOk,
         fmt::format("{}; two hosts have nothing to compare it with: if that is slow "
                     "for this network, either of {} and {} may be the reason",
                     figures_text(links), hosts.names[0], hosts.names[1])});
    return;
  }
  std::vector<LinkSpeed> speeds, quickness;
  for (const Link& link : links) {
    const size_t a = hosts.of_rank[static_cast<size_t>(link.a)];
    const size_t b = hosts.of_rank[static_cast<size_t>(link.b)];
    speeds.push_back({a, b, link.figures.bytes_per_s});
    quickness.push_back({a, b, 1 / link.figures.latency_s});
  }
  const auto status_of = [](double share) {
    return share < kBrokenShare ? Status::kFailed : Status::kWarning;
  };
  const SlowHosts slow = find_slow(hosts.size(), speeds, kSlowShare);
  for (const SlowPart& part : slow.hosts) {
    const std::string& name = hosts.names[part.index];
    findings.push_back(
        {check, status_of(part.share),
         fmt::format(
             "{} is slow: the fastest of its links carries {:.0f} % of what the other hosts "
             "reach. Leave it out (Slurm: --exclude={}), and have its network card, cable "
             "and port looked at",
             name, percent(part.share), name)});
  }
  for (const SlowLink& link : slow.links) {
    const std::string &a = hosts.names[link.a], &b = hosts.names[link.b];
    findings.push_back(
        {check, Status::kWarning,
         fmt::format("between {} and {} there is {:.0f} % of what both reach with other hosts: the "
                     "way between them is narrow or shared; ask for hosts of one switch (Slurm: "
                     "--switches=1)",
                     a, b, percent(link.share))});
  }
  const SlowHosts late = find_slow(hosts.size(), quickness, kSlowLatencyShare);
  for (const SlowPart& part : late.hosts) {
    findings.push_back(
        {check, Status::kWarning,
         fmt::format("{} answers late: its lowest latency is {:.1f} times that of the other hosts. "
                     "Look what else runs there, and at its network card",
                     hosts.names[part.index], 1 / part.share)});
  }
  if (slow.hosts.empty() && slow.links.empty() && late.hosts.empty()) {
    findings.push_back({check, Status::kOk, figures_text(links)});
  }
}

void judge_clocks(const std::vector<ClockOffset>& clocks, const Hosts& hosts,
                  std::vector<Finding>& findings) {
  const std::string check = "clocks";
  double most = 0;
  double error = 0;
  bool fine = true;
  for (size_t host = 0; host < clocks.size(); ++host) {
    const ClockOffset& clock = clocks[host];
    if (std::abs(clock.offset_s) >= most) {
      most = std::abs(clock.offset_s);
      error = clock.error_s;
    }
    if (std::abs(clock.offset_s) - clock.error_s <= kMostClockSeconds) continue;
    fine = false;
    findings.push_back(
        {check, Status::kWarning,
         fmt::format("the clock of {} is {:.1f} s {} that of {} (+- {}): have its time service "
                     "(chronyd, ntpd) looked at; times in logs and file times mislead until then",
                     hosts.names[host], std::abs(clock.offset_s),
                     clock.offset_s > 0 ? "ahead of" : "behind", hosts.names[0],
                     base::format_short(clock.error_s))});
  }
  if (!fine) return;
  findings.push_back({check, Status::kOk,
                      clocks.size() == 1 ? "one host"
                                         : fmt::format("at most {} (+- {}) from that of {}",
                                                       base::format_short(most),
                                                       base::format_short(error), hosts.names[0])});
}

}  // namespace

std::vector<Finding> judge_links(const LinksMeasured& measured, const Hosts& hosts) {
  std::vector<Finding> findings;
  judge_within(measured.within, hosts, findings);
  judge_between(measured.between, hosts, findings);
  std::string collectives;
  for (const CollectiveTime& time : measured.collectives) {
    collectives +=
        fmt::format("{}{} of {} in {} (bus {})", collectives.empty() ? "" : ", ", time.operation,
                    base::format_bytes(time.bytes), base::format_short(time.seconds),
                    base::format_rate(time.bus_bytes_per_s));
  }
  findings.push_back({"collectives", Status::kOk, collectives.empty() ? "one rank" : collectives});
  judge_clocks(measured.clocks, hosts, findings);
  return findings;
}

nlohmann::json to_json(const LinksMeasured& measured, const Hosts& hosts) {
  const auto links_json = [&](const std::vector<Link>& links) {
    auto json = nlohmann::json::array();
    for (const Link& link : links) {
      json.push_back({{"ranks", {link.a, link.b}},
                      {"hosts", {hosts.name_of(link.a), hosts.name_of(link.b)}},
                      {"latency_s", link.figures.latency_s},
                      {"bytes_per_s", link.figures.bytes_per_s}});
    }
    return json;
  };
  auto clocks = nlohmann::json::array();
  for (size_t host = 0; host < measured.clocks.size(); ++host) {
    clocks.push_back({{"host", hosts.names[host]},
                      {"offset_s", measured.clocks[host].offset_s},
                      {"error_s", measured.clocks[host].error_s}});
  }
  auto collectives = nlohmann::json::array();
  for (const CollectiveTime& time : measured.collectives) collectives.push_back(to_json(time));
  return {{"within_hosts", links_json(measured.within)},
          {"between_hosts", links_json(measured.between)},
          {"clocks", clocks},
          {"collectives", collectives}};
}

}  // namespace rondo::comm
