// ledger.jsonl: one JSON line for each round that ended, with hashes of all that went in and came
// out. Page: docs/formats/ledger.md.
//
// Two hashes (xxh3-128) stand in each line. `content` is of what two runs of the same recipe have
// in common: a run that was killed and went on has the same list of them as an undisturbed one.
// `chain` is of the whole line and of the chain before it: a line that was changed, taken out,
// added or moved by hand is found.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace rondo::train {

struct LedgerLine {
  int64_t number = 0;  // of the line in the file, from 1
  nlohmann::json json;
};

// The whole lines of a ledger, in their order. A line that a kill cut short is not one.
std::vector<LedgerLine> ledger_lines(const std::string& text);

// Hashes of a line, whatever hashes it holds.
std::string content_of(const nlohmann::json& line);
std::string chain_of(const nlohmann::json& line, const std::string& chain_before);

// Called on rank 0. Appends `line` durably, with both hashes.
void append_to_ledger(const std::string& path, nlohmann::json line);

// What is wrong with the hashes, a sentence for each line at fault. Lines of earlier versions have
// none.
std::vector<std::string> ledger_faults(const std::vector<LedgerLine>& lines);

}  // namespace rondo::train
