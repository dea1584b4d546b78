// From all examples to the documents that are packed: pure functions, the same on every rank.
//
// Stages per source, each from a list of examples to a list of examples: the part of the held-out
// split and what of it can be used (length, trained tokens); cleaning (clean.hpp), which is not
// here; the choice by scores, the seeded limit and the passes.
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

// By source: the examples that can be packed, ascending. `trained`: trained tokens of every example
// of `inputs`, when cut to seq_len. Adds one account per source to `report`. UserError: a split
// larger than its source, too many over-long examples, a source of which no trained token is left.
std::vector<std::vector<int64_t>> usable_examples(const PackRequest& request,
                                                  const PackInputs& inputs,
                                                  std::span<const int32_t> trained,
                                                  PackReport& report);

// The documents made of what is left of them, counted in the accounts of `report`. UserError: no
// scores, shares that cannot be had (mix.hpp).
Documents choose_documents(const PackRequest& request, const PackInputs& inputs,
                           std::span<const int32_t> trained,
                           std::vector<std::vector<int64_t>> examples, PackReport& report);

}  // namespace rondo::data
