#include "comm/rank_report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace rondo::comm {

namespace {

constexpr const char* kFormat = "rondo.hang";
constexpr int64_t kVersion = 1;
constexpr int64_t kOperations = 32;  // of a group

OperationReport report_of(const Record& record, Clock::time_point now) {
  const Call& call = record.call;
  const bool done = record.done || record.waited_s;
  const char* state = OperationReport::kUnderWay;
  if (done) state = OperationReport::kDone;
  if (!done && record.blocks) state = OperationReport::kWaiting;
  return {.sequence = call.sequence,
          .operation = std::string(name_of(call.operation)),
          .elements = call.elements,
          .type = std::string(name_of(call.type)),
          .root = call.root,
          .purpose = std::string(name_of(record.purpose)),
          .bytes = record.bytes,
          .state = state,
          .seconds = seconds_between(record.started, record.done.value_or(now)),
          .started_s_ago = seconds_between(record.started, now)};
}

nlohmann::json to_json(const OperationReport& operation) {
  nlohmann::json json = {{"sequence", operation.sequence},
                         {"operation", operation.operation},
                         {"elements", operation.elements},
                         {"type", operation.type},
                         {"purpose", operation.purpose},
                         {"bytes", operation.bytes},
                         {"state", operation.state},
                         {"seconds", operation.seconds},
                         {"started_s_ago", operation.started_s_ago}};
  if (operation.root >= 0) json["root"] = operation.root;
  return json;
}

OperationReport operation_from(const nlohmann::json& json) {
  return {.sequence = json.at("sequence").get<int64_t>(),
          .operation = json.at("operation").get<std::string>(),
          .elements = json.at("elements").get<int64_t>(),
          .type = json.at("type").get<std::string>(),
          .root = json.value("root", int64_t{-1}),
          .purpose = json.at("purpose").get<std::string>(),
          .bytes = json.at("bytes").get<int64_t>(),
          .state = json.at("state").get<std::string>(),
          .seconds = json.at("seconds").get<double>(),
          .started_s_ago = json.at("started_s_ago").get<double>()};
}

}  // namespace

std::string OperationReport::call() const {
  std::string text = fmt::format("{} of {} {}", operation, elements, type);
  if (root >= 0) text += fmt::format(" from root {}", root);
  return text;
}

std::vector<GroupReport> report_groups(const FlightRecorders& recorders, Clock::time_point now) {
  std::vector<GroupReport> groups;
  for (const auto& entry : recorders.list()) {
    GroupReport& group = groups.emplace_back();
    group.name = entry.group;
    group.ranks = entry.ranks;
    for (const Record& record : entry.recorder->recent(kOperations)) {
      group.operations.push_back(report_of(record, now));
    }
  }
  return groups;
}

nlohmann::json to_json(const RankReport& report) {
  auto groups = nlohmann::json::array();
  for (const GroupReport& group : report.groups) {
    auto operations = nlohmann::json::array();
    for (const auto& operation : group.operations) operations.push_back(to_json(operation));
    groups.push_back({{"name", group.name}, {"ranks", group.ranks}, {"operations", operations}});
  }
  // JSON has no word for infinity.
  const auto budget =
      std::isfinite(report.budget_s) ? nlohmann::json(report.budget_s) : nlohmann::json();
  return {{"format", kFormat},         {"version", kVersion}, {"rank", report.rank},
          {"host", report.host},       {"pid", report.pid},   {"phase", report.phase},
          {"step", report.step},       {"budget_s", budget},  {"seconds", report.seconds},
          {"expired", report.expired}, {"groups", groups}};
}

RankReport rank_report_from(const nlohmann::json& json) {
  try {
    if (json.at("format") != kFormat || json.at("version") != kVersion) {
      base::fail_user("not a report of version {} of {}", kVersion, kFormat);
    }
    const auto& budget = json.at("budget_s");
    RankReport report = {.rank = json.at("rank").get<int>(),
                         .host = json.at("host").get<std::string>(),
                         .pid = json.at("pid").get<int64_t>(),
                         .phase = json.at("phase").get<std::string>(),
                         .step = json.at("step").get<int64_t>(),
                         .seconds = json.at("seconds").get<double>(),
                         .budget_s = budget.is_null() ? std::numeric_limits<double>::infinity()
                                                      : budget.get<double>(),
                         .expired = json.at("expired").get<bool>(),
                         .groups = {}};
    for (const auto& group : json.at("groups")) {
      GroupReport& read = report.groups.emplace_back();
      read.name = group.at("name").get<std::string>();
      read.ranks = group.at("ranks").get<std::vector<int>>();
      for (const auto& operation : group.at("operations")) {
        read.operations.push_back(operation_from(operation));
      }
    }
    return report;
  } catch (const nlohmann::json::exception& error) {
    base::fail_user("not a report of a rank: {}", error.what());
  }
}

}  // namespace rondo::comm
