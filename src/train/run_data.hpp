// Which packed sets a run needs: one for each round's training data, one for each held-out source.
//
// Tokenised files of a source are those named in the configuration (.h5), or what tools/prepare
// made of its text: <run.dir>/cache/<run.name>/<source>.train.h5 and .heldout.h5.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/console.hpp"
#include "comm/control.hpp"
#include "comm/group.hpp"
#include "data/batch.hpp"
#include "data/pack_request.hpp"
#include "train/config.hpp"

namespace rondo::train {

struct HeldoutData {
  std::string source;
  data::PackRequest request;  // out_folder is the packed set
};

// How the conversations that a round trains on are written: what a model must be prompted with, and
// where it stops.
struct Turns {
  std::vector<int64_t> end_of_turn;         // distinct ids, in the order of the sources
  std::vector<std::string> chat_templates;  // distinct texts; none: the files do not hold them
};

struct RunData {
  // One per round of the configuration; without sources for one without data (init: average), and
  // for one whose samples are not made yet. A round that goes on with the packs of another has that
  // one's.
  std::vector<data::PackRequest> rounds;
  std::vector<Turns> turns;          // the same
  std::vector<HeldoutData> heldout;  // in the order of the sources
  // The same with other numbers of examples, by evaluate.max_examples of rounds that evaluate
  // inside.
  std::map<int64_t, std::vector<HeldoutData>> heldout_inside;
  // "" or a warning: the data were made with another tokenizer than the one that is exported.
  std::string other_tokenizer;

  std::vector<const data::PackRequest*> all() const;
};

// What `loss.average` means to the loader.
data::Average average_of(const Config& config);

// Where the samples of a source lie that a round makes (train/samples.hpp).
std::string samples_file(const Config& config, size_t round, const std::string& source);
// The tokenised files of a source as round `round` trains on it. UserError when one is missing that
// is made before the run.
std::vector<std::string> train_files(const Config& config, size_t round, const std::string& source);

// Called on every rank; reads attributes only. UserError when a tokenised file is missing or
// `tokenizer` names no tokenizer.
RunData plan_data(const Config& config, int64_t vocab);
// The same for one round, once it is known which rounds before it stand: what it replays, and is
// compared with, are theirs. Returns whether anything has changed.
bool plan_round_again(const Config& config, size_t round, int64_t vocab, RunData& data);

// Called on one rank, since it reads all of the texts. UserError when a tokenised file that is used
// was made from a text that has changed since, or with another tokenizer, template or settings.
void check_fresh(const Config& config, const RunData& data);

// UserError when the packed set of a round that was begun is there, but was made for another
// request: packing again would put other examples into the rest of the round.
void check_same_data(const data::PackRequest& request, const std::string& place,
                     const std::string& round);

// Collective over all ranks. Packs what is missing or was made for another request, one set after
// another. `stop` is asked on every rank before each: false when one of them has ended it.
bool ensure_packed(
    const std::vector<const data::PackRequest*>& requests, comm::Control& control,
    comm::Group& group, base::Console& console,
    const std::function<bool()>& stop = [] { return false; });

}  // namespace rondo::train
