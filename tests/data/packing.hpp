// What the tests of packing share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/console.hpp"
#include "base/error.hpp"
#include "comm/control.hpp"
#include "comm/local_world.hpp"
#include "data/pack.hpp"
#include "support/temp_folder.hpp"
#include "support/tokenized_file.hpp"

namespace rondo::data {

// What `body` says when it throws a UserError, or a note that it did not.
template <class Body>
std::string user_error(const Body& body) {
  try {
    body();
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "no UserError was thrown";
}

inline PackRequest request_for(const std::string& file, const std::string& out) {
  PackRequest request;
  request.sources = {{.name = "only", .files = {file}}};
  request.seq_len = 64;
  request.seed = 7;
  request.split_seed = 3;
  request.vocab = 100;
  request.out_folder = out;
  return request;
}

// Packs on `ranks` threads; rank 0's report.
inline PackReport pack_on(int ranks, const PackRequest& request) {
  PackReport report;
  comm::LocalWorld::run(ranks, [&](comm::Group& group, comm::Control& control) {
    base::Console silent(false);
    PackReport mine = pack(request, control, group, silent);
    if (group.rank() == 0) report = mine;
  });
  return report;
}

}  // namespace rondo::data
