#include "train/ledger.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <sstream>

#include "base/file.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"

namespace rondo::train {

namespace {

// What two runs of one recipe may differ in, and the hashes.
constexpr const char* kCircumstances[] = {"time",   "seconds", "ranks",   "threads_per_rank",
                                          "layout", "version", "content", "chain"};

std::string name_of_line(const LedgerLine& line) {
  return fmt::format("line {} (round {})", line.number, line.json.value("round", "?"));
}

}  // namespace

std::vector<LedgerLine> ledger_lines(const std::string& text) {
  std::vector<LedgerLine> lines;
  std::istringstream rest(text);
  int64_t number = 0;
  for (std::string one; std::getline(rest, one);) {
    ++number;
    auto json = base::try_parse_json(one);
    if (json && json->is_object()) lines.push_back({number, std::move(*json)});
  }
  return lines;
}

std::string content_of(const nlohmann::json& line) {
  nlohmann::json content = line;
  for (const char* key : kCircumstances) content.erase(key);
  if (content.contains("inputs") && content["inputs"].is_array()) {
    // Where they lie is nothing of what they are.
    for (auto& input : content["inputs"]) {
      if (input.is_object()) input.erase("path");
    }
  }
  return base::hash_hex(content.dump());
}

std::string chain_of(const nlohmann::json& line, const std::string& chain_before) {
  nlohmann::json whole = line;
  whole.erase("chain");
  return base::hash_hex(chain_before + whole.dump());
}

void append_to_ledger(const std::string& path, nlohmann::json line) {
  const auto before =
      ledger_lines(std::filesystem::exists(path) ? base::read_text(path) : std::string());
  line["content"] = content_of(line);
  line["chain"] = chain_of(line, before.empty() ? "" : before.back().json.value("chain", ""));
  base::append_line_durably(path, line.dump());
}

std::vector<std::string> ledger_faults(const std::vector<LedgerLine>& lines) {
  std::vector<std::string> faults;
  std::string before;
  for (const LedgerLine& line : lines) {
    const std::string chain = line.json.value("chain", "");
    if (chain.empty() && before.empty()) continue;  // of an earlier version
    if (line.json.value("content", "") != content_of(line.json)) {
      faults.push_back(fmt::format("{}: is not as it was written", name_of_line(line)));
    } else if (chain != chain_of(line.json, before)) {
      faults.push_back(
          fmt::format("{}: does not follow what stands before it: a line was changed, taken out, "
                      "added or moved there, or this one's circumstances were changed",
                      name_of_line(line)));
    }
    before = chain;
  }
  return faults;
}

}  // namespace rondo::train
