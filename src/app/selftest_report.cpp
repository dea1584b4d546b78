#include "app/selftest_report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.hpp"
#include "comm/slowness.hpp"

namespace rondo::app {

using base::Status;

namespace {

// The host's value of each column, "-" where it was not measured.
std::vector<std::string> row_of(const SelftestReport& report, size_t host) {
  const std::vector<int>& here = report.hosts.ranks[host];
  std::vector<double> products, copies;
  std::string cores = "-", memory = "-";
  for (const int r : here) {
    if (report.ranks.empty()) break;
    const train::RankMeasured& rank = report.ranks[static_cast<size_t>(r)];
    products.push_back(rank.flops_per_s);
    copies.push_back(rank.copy_bytes_per_s);
    cores = fmt::format("{}", rank.host_cores);
    memory = base::format_bytes(rank.memory);
  }
  double network = 0;
  double latency = 0;
  std::string clock = "-";
  if (report.links) {
    for (const comm::Link& link : report.links->between) {
      if (link.a != here[0] && link.b != here[0]) continue;
      network = std::max(network, link.figures.bytes_per_s);
      latency = latency == 0 ? link.figures.latency_s : std::min(latency, link.figures.latency_s);
    }
    clock = host == 0 ? "0" : base::format_short(report.links->clocks[host].offset_s);
  }
  std::string write = "-";
  if (report.files && !report.files->write_bytes_per_s.empty()) {
    write = base::format_rate(report.files->write_bytes_per_s[host]);
  }
  return {report.hosts.names[host],
          fmt::format("{}", here.size()),
          cores,
          products.empty() ? "-" : fmt::format("{:.1f}", comm::median(products) / 1e9),
          copies.empty() ? "-" : base::format_rate(comm::median(copies)),
          memory,
          network == 0 ? "-" : base::format_rate(network),
          latency == 0 ? "-" : base::format_short(latency),
          clock,
          write};
}

void print_hosts(const SelftestReport& report, base::Console& console) {
  std::vector<std::vector<std::string>> rows = {{"host", "ranks", "cores", "GFLOP/s", "copy",
                                                 "memory", "network", "latency", "clock", "write"}};
  for (size_t host = 0; host < report.hosts.size(); ++host) rows.push_back(row_of(report, host));
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += i == 0 ? fmt::format("{:<{}}", row[i], widths[i])
                     : fmt::format("  {:>{}}", row[i], widths[i]);
    }
    console.line("{}", line);
  }
}

// `text` in lines that fit beside `indent` blanks.
std::string wrapped(const std::string& text, size_t indent) {
  constexpr size_t kColumns = 120;
  std::string lines;
  size_t column = indent;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (column > indent && column + 1 + word.size() > kColumns) {
      lines += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      lines += ' ';
      ++column;
    }
    lines += word;
    column += word.size();
    at = end + 1;
  }
  return lines;
}

}  // namespace

void SelftestReport::add(std::vector<base::Finding> more) {
  for (base::Finding& finding : more) findings.push_back(std::move(finding));
}

nlohmann::json to_json(const SelftestReport& report) {
  auto hosts = nlohmann::json::array();
  for (size_t host = 0; host < report.hosts.size(); ++host) {
    hosts.push_back({{"host", report.hosts.names[host]}, {"ranks", report.hosts.ranks[host]}});
  }
  auto checks = nlohmann::json::array();
  for (const base::Finding& finding : report.findings) {
    checks.push_back({{"check", finding.check},
                      {"status", base::name_of(finding.status)},
                      {"text", finding.text}});
  }
  nlohmann::json json = {{"format", "rondo.selftest"},
                         {"version", 1},
                         {"status", base::name_of(base::worst(report.findings))},
                         {"seconds", report.seconds},
                         {"program", report.program},
                         {"libraries", report.libraries},
                         {"config", nullptr},
                         {"hosts", hosts},
                         {"checks", checks},
                         {"ranks", to_json(report.ranks, report.hosts)},
                         {"links", nullptr},
                         {"files", nullptr},
                         {"disk_need", nullptr},
                         {"nccl", report.nccl}};
  if (!report.config.empty()) json["config"] = report.config;
  if (report.links) json["links"] = to_json(*report.links, report.hosts);
  if (report.files) json["files"] = to_json(*report.files, report.hosts);
  if (report.need) {
    json["disk_need"] = {{"checkpoint_bytes", report.need->checkpoint},
                         {"checkpoints", report.need->copies},
                         {"rounds_bytes", report.need->rounds},
                         {"there_bytes", report.need->there}};
  }
  return json;
}

void print(const SelftestReport& report, base::Console& console) {
  console.line("rondo {}, {}", report.program, report.libraries);
  print_hosts(report, console);
  console.line("");
  size_t warnings = 0, failures = 0;
  for (const base::Finding& finding : report.findings) {
    const bool failed = finding.status == Status::kFailed;
    warnings += finding.status == Status::kWarning ? 1 : 0;
    failures += failed ? 1 : 0;
    console.line("{:<8} {:<19} {}", failed ? "FAILED" : base::name_of(finding.status),
                 finding.check, wrapped(finding.text, 29));
  }
  console.line("");
  console.line("{} checks: {} failed, {} warning{}; {:.1f} s", report.findings.size(), failures,
               warnings, warnings == 1 ? "" : "s", report.seconds);
}

}  // namespace rondo::app
