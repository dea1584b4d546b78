#include "train/selftest_ranks.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <set>

#include "base/units.hpp"
#include "comm/call.hpp"
#include "comm/slowness.hpp"
#include "train/calibration.hpp"
#include "train/memory.hpp"

namespace rondo::train {

namespace {

using base::Finding;
using base::Status;

constexpr double kSlowShare = 0.75;
constexpr int64_t kCopied = int64_t{64} << 20;

std::vector<int> cores_of_this_process() {
  // Room for more cores than a cpu_set_t has.
  constexpr int kMost = 8192;
  std::vector<int> cores;
  cpu_set_t* set = CPU_ALLOC(kMost);
  const size_t bytes = CPU_ALLOC_SIZE(kMost);
  if (::sched_getaffinity(0, bytes, set) == 0) {
    for (int core = 0; core < kMost; ++core) {
      if (CPU_ISSET_S(static_cast<size_t>(core), bytes, set)) cores.push_back(core);
    }
  }
  CPU_FREE(set);
  return cores;
}

// Best of several copies.
double copy_speed(double seconds) {
  const at::Tensor from = at::ones({kCopied / 4}, at::kFloat);
  at::Tensor to = at::zeros_like(from);
  double best_s = std::numeric_limits<double>::infinity();
  const auto start = std::chrono::steady_clock::now();
  for (double spent_s = 0; spent_s < seconds;) {
    const auto begin = std::chrono::steady_clock::now();
    to.copy_(from);
    const auto end = std::chrono::steady_clock::now();
    best_s = std::min(best_s, std::chrono::duration<double>(end - begin).count());
    spent_s = std::chrono::duration<double>(end - start).count();
  }
  return static_cast<double>(kCopied) / best_s;
}

std::vector<double> column(const std::vector<RankMeasured>& ranks, double RankMeasured::*member) {
  std::vector<double> values;
  for (const RankMeasured& rank : ranks) values.push_back(rank.*member);
  return values;
}

// "0-3, 8": a list of ascending numbers.
std::string ranges_text(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t end = i;
    while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", numbers[i]);
    if (end > i) text += fmt::format("-{}", numbers[end]);
    i = end + 1;
  }
  return text;
}

// What is wrong with the cores of one host's ranks; empty when nothing is.
std::string cores_fault(const std::vector<RankMeasured>& all, const std::vector<int>& here) {
  std::set<int> cores;
  int threads = 0;
  for (const int r : here) {
    const RankMeasured& rank = all[static_cast<size_t>(r)];
    if (rank.threads > static_cast<int>(rank.cores.size())) {
      return fmt::format("rank {} computes with {} threads on {} cores ({})", r, rank.threads,
                         rank.cores.size(), ranges_text(rank.cores));
    }
    cores.insert(rank.cores.begin(), rank.cores.end());
    threads += rank.threads;
  }
  if (threads <= static_cast<int>(cores.size())) return {};
  return fmt::format("{} with {} threads in all share {} cores ({})", comm::ranks_text(here),
                     threads, cores.size(),
                     ranges_text(std::vector<int>(cores.begin(), cores.end())));
}

void judge_cores(const std::vector<RankMeasured>& measured, const comm::Hosts& hosts,
                 std::vector<Finding>& findings) {
  const std::string check = "cores";
  bool fine = true;
  for (size_t host = 0; host < hosts.size(); ++host) {
    const std::string fault = cores_fault(measured, hosts.ranks[host]);
    if (fault.empty()) continue;
    fine = false;
    findings.push_back(
        {check, Status::kWarning,
         fmt::format("{}: {}: start with launch/run, which binds each rank to cores of its own, or "
                     "set OMP_NUM_THREADS to the cores of a rank",
                     hosts.names[host], fault)});
  }
  if (!fine) return;
  std::map<std::string, int> forms;
  for (const RankMeasured& rank : measured) {
    ++forms[fmt::format("{} thread{} on {} of {} cores ({})", rank.threads,
                        rank.threads == 1 ? "" : "s", rank.cores.size(), rank.host_cores,
                        rank.bound() ? "bound" : "not bound")];
  }
  std::string text;
  for (const auto& [form, count] : forms) {
    text += fmt::format("{}{} rank{}: {}", text.empty() ? "" : "; ", count, count == 1 ? "" : "s",
                        form);
  }
  findings.push_back({check, Status::kOk, text});
}

template <class Text>
void judge_speed(const std::string& check, const std::vector<double>& speeds,
                 const comm::Hosts& hosts, const Text& text_of, std::vector<Finding>& findings) {
  constexpr size_t kNamed = 8;
  const auto slow = comm::slower_than_others(speeds, kSlowShare);
  for (size_t i = 0; i < std::min(slow.size(), kNamed); ++i) {
    const auto rank = static_cast<int>(slow[i].index);
    findings.push_back(
        {check, Status::kWarning,
         fmt::format("rank {} on {}: {}, {:.0f} % of the others' median{}. Look what else runs on "
                     "{}, at its temperature and clock rate, or leave it out",
                     rank, hosts.name_of(rank), text_of(speeds[slow[i].index]), 100 * slow[i].share,
                     i + 1 == kNamed && slow.size() > kNamed
                         ? fmt::format(" (and {} more ranks)", slow.size() - kNamed)
                         : "",
                     hosts.name_of(rank))});
  }
  if (!slow.empty()) return;
  const auto lowest = std::ranges::min_element(speeds) - speeds.begin();
  findings.push_back(
      {check, Status::kOk,
       fmt::format("{} a rank (median); the slowest {}, rank {} on {}",
                   text_of(comm::median(speeds)), text_of(speeds[static_cast<size_t>(lowest)]),
                   lowest, hosts.name_of(static_cast<int>(lowest)))});
}

}  // namespace

std::vector<RankMeasured> measure_ranks(const comm::Hosts& hosts, comm::Control& control,
                                        comm::Group& world, double seconds) {
  const size_t host = hosts.of_rank[static_cast<size_t>(control.rank())];
  RankMeasured mine;
  mine.cores = cores_of_this_process();
  mine.host_cores = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  mine.threads = at::get_num_threads();
  mine.memory = available_memory(static_cast<int>(hosts.ranks[host].size()));
  control.barrier();
  mine.flops_per_s = calibrate_rank(world);
  control.barrier();
  mine.copy_bytes_per_s = copy_speed(seconds);
  const nlohmann::json json = {mine.cores,  mine.host_cores,  mine.threads,
                               mine.memory, mine.flops_per_s, mine.copy_bytes_per_s};
  std::vector<RankMeasured> all;
  for (const std::string& text : control.gather_text(json.dump())) {
    const auto said = nlohmann::json::parse(text);
    all.push_back({.cores = said[0].get<std::vector<int>>(),
                   .host_cores = said[1],
                   .threads = said[2],
                   .memory = said[3],
                   .flops_per_s = said[4],
                   .copy_bytes_per_s = said[5]});
  }
  return all;
}

std::vector<Finding> judge_ranks(const std::vector<RankMeasured>& measured,
                                 const comm::Hosts& hosts) {
  std::vector<Finding> findings;
  judge_cores(measured, hosts, findings);
  judge_speed(
      "matrix products", column(measured, &RankMeasured::flops_per_s), hosts,
      [](double speed) { return fmt::format("{:.1f} GFLOP/s", speed / 1e9); }, findings);
  judge_speed(
      "memory copies", column(measured, &RankMeasured::copy_bytes_per_s), hosts,
      [](double speed) { return base::format_rate(speed); }, findings);
  return findings;
}

nlohmann::json to_json(const std::vector<RankMeasured>& measured, const comm::Hosts& hosts) {
  auto json = nlohmann::json::array();
  for (size_t r = 0; r < measured.size(); ++r) {
    const RankMeasured& rank = measured[r];
    json.push_back({{"rank", r},
                    {"host", hosts.names[hosts.of_rank[r]]},
                    {"cores", rank.cores},
                    {"host_cores", rank.host_cores},
                    {"bound", rank.bound()},
                    {"threads", rank.threads},
                    {"available_bytes", rank.memory},
                    {"flops_per_s", rank.flops_per_s},
                    {"copy_bytes_per_s", rank.copy_bytes_per_s}});
  }
  return json;
}

}  // namespace rondo::train
