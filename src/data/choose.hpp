// From all examples to the documents that are packed: pure functions, the same on every rank.
//
// Stages per source, each from a list of examples to a list of examples: the part of the held-out
// split; what can be used (length, trained tokens); the seeded limit; the passes. What removes
// examples for their content belongs after the second stage, what mixes sources replaces the last.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/pack_inputs.hpp"
#include "data/pack_report.hpp"
#include "data/pack_request.hpp"

namespace rondo::data {

// Documents in a seeded order: the plan takes documents of equal length as they come, so that packs
// mix sources and passes.
struct Documents {
  std::vector<int64_t> example;  // number in PackInputs
  std::vector<int32_t> length;   // tokens, at most seq_len
  std::vector<uint16_t> source;
  int64_t size() const { return static_cast<int64_t>(example.size()); }
};

// `trained`: trained tokens of every example of `inputs`, when cut to seq_len. Adds one account per
// source to `report`. UserError: a split larger than its source, too many over-long examples, a
// source of which no trained token is left.
Documents choose_documents(const PackRequest& request, const PackInputs& inputs,
                           std::span<const int32_t> trained, PackReport& report);

}  // namespace rondo::data
