// Packing: from tokenised files to a packed set, by one global, seeded plan.
//
// The plan is made of lengths alone and is the same on every rank; the shards are cut from it
// independently of the number of ranks and written by all ranks in parallel, so that the result is
// the same to the byte for any number. Labels are shifted here, once: the weight stored at a
// document's position i is that of its token i + 1, zero at its last position.
#pragma once

#include "base/console.hpp"
#include "comm/control.hpp"
#include "comm/group.hpp"
#include "data/pack_report.hpp"
#include "data/pack_request.hpp"

namespace rondo::data {

// Collective over all ranks (`control` and `group` hold the same ones). Writes request.out_folder
// and returns the account, which is printed too.
//
// The folder is built under another name and moved into place at the end: a kill at any moment
// leaves either the old state or the finished set, and at most a folder `NAME.*.tmp`, which the
// next call removes. A packed set that is there already is replaced; anything else is a UserError.
// Errors are agreed: every rank throws the same.
PackReport pack(const PackRequest& request, comm::Control& control, comm::Group& group,
                base::Console& console);

}  // namespace rondo::data
