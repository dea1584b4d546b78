// What is to be packed, and how.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/clean_settings.hpp"
#include "data/mix.hpp"
#include "data/scores.hpp"

namespace rondo::data {

// What is done with an example of more than seq_len tokens.
enum class OverLong {
  kDrop,   // leave it out; an error when the share in a source is above max_rejected
  kError,  // refuse, naming the first one
  kCut,    // keep its first seq_len tokens
};

struct PackSource {
  std::string name;
  std::vector<std::string> files;  // tokenised
  // How often each example is used: 2.5 is twice every one and once more a seeded half.
  double passes = 1.0;
  bool replayed = false;  // comes again from earlier rounds: never counted as a duplicate
  size_t part = 0;        // of PackRequest::mix, where there is one; passes are not used then
  // A seeded choice of this many examples is held out; 0: there is no split.
  int64_t heldout_split = 0;
  bool take_heldout = false;   // take the held-out part of the split, else the rest
  std::optional<Keep> keep{};  // by scores, of what can be used and cleaning leaves
  int64_t max_examples = 0;    // a seeded choice of at most this many usable ones; 0: all
};

struct PackRequest {
  std::vector<PackSource> sources;
  int64_t seq_len = 0;        // tokens of a pack
  int64_t max_documents = 0;  // of a pack; 0: no bound
  uint64_t seed = 0;          // order of packs, and choice for a broken pass
  // Choice of held-out parts and of max_examples: the same for all sets of a run, so that what one
  // set trains on is never in another's held-out part.
  uint64_t split_seed = 0;
  int64_t vocab = 0;  // ids of the model
  std::string out_folder;
  OverLong over_long = OverLong::kDrop;
  double max_rejected = 0.01;
  CleanSettings clean;
  // Sources of earlier rounds that are not this one's, for clean.across_rounds alone.
  std::vector<PackSource> earlier;
  std::optional<Mix> mix;  // shares in place of passes
  // How the packs will be taken (step_order.hpp), for the figures of the report alone: another
  // batch needs no new packs. 0: not known.
  int64_t packs_per_step = 0;
};

// Hash of the settings and of what the input files say of themselves (attributes and sizes); not
// of where they lie. Reads attributes only. UserError when a file cannot be read.
std::string request_hash(const PackRequest& request);

// Whether `folder` holds a finished packed set made for this request.
bool is_current(const std::string& folder, const PackRequest& request);

}  // namespace rondo::data
